# A PHP node: the shares over NFS with a client cache, and php-cgi workers that web nodes reach by FastCGI.
description = PHP node
role = php
boot-modules = virtio_pci virtio_net virtio_blk virtio_console virtio-rng button evdev
services = log network gossip agent cachefiles share@%{shares} php-cgi
