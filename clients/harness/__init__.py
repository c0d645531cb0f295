"""What the clients' test suites share: the services under test, a relay that watches the wire, and the table."""
