# A web node: lighttpd on the web address, static files from the shares, PHP from the php nodes.
description = web node
role = web
boot-modules = virtio_pci virtio_net virtio_blk virtio_console virtio-rng button evdev
services = log network gossip agent share@%{shares} lighttpd address@%{leases.web}
