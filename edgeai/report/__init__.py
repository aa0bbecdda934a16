"""Model card, HTML report and licences: what a run found out, for people. Reads artifacts, computes nothing twice."""
