"""The shelf: everything computed, stored by the digest of its inputs; files are written whole or not at all."""
