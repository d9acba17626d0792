"""What can be measured on this machine: facts, each present, absent with a reason, or unknown."""
