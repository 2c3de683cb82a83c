"""What the attacks on bydawn share: virtual time, a laboratory with an in-process sandbox, and an oracle."""
