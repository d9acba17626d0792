"""The Zabbix template, made from the metric catalogue: a new metric finds its place by itself."""
