"""The whole scene as one record, and its draft."""
