"""The spine: YANG data, datastores, transactions, access, notifications. Knows no protocol and no licensing."""
