"""The keys of the three items in Zabbix that documents are sent to."""

TOTALS_KEY = "nfszbx.totals"
CLIENTS_KEY = "nfszbx.clients"
OPERATIONS_KEY = "nfszbx.operations"
MASTER_KEYS = (TOTALS_KEY, CLIENTS_KEY, OPERATIONS_KEY)
