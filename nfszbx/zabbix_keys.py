"""The keys of the two items in Zabbix that documents are sent to."""

TOTALS_KEY = "nfszbx.totals"
CLIENTS_KEY = "nfszbx.clients"
