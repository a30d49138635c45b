# A data node: one half of the replicated disk, the filesystem on it, and the NFS server of its addresses.
description = replicated storage, served over NFSv4
role = data
boot-modules = virtio_pci virtio_blk virtio_net virtio_console virtio-rng crc32c_generic button evdev
# No NFSv4 delegations: a client's lease would have to be recalled across the two servers.
sysctl = fs.leases-enable=0
services = log network gossip agent share-dirs nfsd@%{leases.data}
