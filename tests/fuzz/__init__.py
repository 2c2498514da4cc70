"""Programs that look for trouble as long as they are let. Each says how to be run at its top."""
