"""Sets Zabbix up for nfszbx, and finds out why it shows nothing."""
