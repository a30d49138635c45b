/*
 * The gossip process: "supervisor worker gossip", service `gossip`. fd 0 is its bound UDP socket,
 * fd 3 its channel to the supervising process (src/gossip/message.h). It holds no other descriptor,
 * reads no file and no environment, and needs no capability. It ends with 0 when the channel is
 * closed and on SIGTERM (after a LEAVE: once the siblings know), with 1 on a fault of its own or of
 * what the channel brought.
 */
#ifndef SUPERVISOR_GOSSIP_GOSSIP_H
#define SUPERVISOR_GOSSIP_GOSSIP_H

int gossip_worker(int argc, char **argv);

#endif
