"""What brings secrets into frameworks; each module needs the extra of its name."""
