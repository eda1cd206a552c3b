"""The database: schema, the event log, named queries. Never does: decide anything."""
