"""The licence authority (the CSSM role): takes signed reports, acknowledges them, issues policies and trust codes."""
