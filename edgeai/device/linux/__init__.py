"""Linux boards: their console and ssh, and the benchmarks that run there."""
