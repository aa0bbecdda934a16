"""The accuracy gate: a policy without input or output, and writers of its verdict."""
