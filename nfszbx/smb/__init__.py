"""Who is connected to smbd: users and shares by client, as Samba's own smbstatus tells."""
