/*
 * Two that live under one name at the same time: a copied machine, or two that were given the same
 * node file. Both hold the key, so no seal tells them apart; what does is time (docs/GOSSIP.md,
 * "Two of one name"). Only src/gossip/seal.c uses this.
 */
#ifndef SUPERVISOR_GOSSIP_TWINS_H
#define SUPERVISOR_GOSSIP_TWINS_H

#include "src/gossip/seal.h"

/* The session ends in favour of another boot: remembers it. */
void twins_supersede(struct seal_peer *peer, uint64_t now_us);
/* A handshake that was begun after `boot_id` was superseded proves it to be alive: true, and the
 * conflict has begun. */
bool twins_returned(struct seal_peer *peer, uint64_t boot_id, uint64_t sequence, uint64_t now_us);
/* A packet well sealed by a boot that is not the present one. True: its clock shows that it was
 * sent after another boot was believed; the conflict has begun. */
bool twins_stray(struct seal_peer *peer, uint64_t boot_id, uint64_t sequence, uint64_t now_us);
/* During a conflict: a sign of life of one of both. */
void twins_seen(struct seal_peer *peer, uint64_t boot_id, uint64_t sequence, uint64_t now_us);

#endif
