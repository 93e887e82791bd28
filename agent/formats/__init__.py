"""All that crosses to the licence authority: bytes to verified frozen values and back. No YANG, disk or clock."""
