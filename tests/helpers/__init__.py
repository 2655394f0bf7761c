"""What several tests share: networks, hardware units, child processes, guards."""
