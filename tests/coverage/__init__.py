"""What `scripts/yang_coverage` and the tests share: an agent behind its real front ends, driven through whole lives."""
