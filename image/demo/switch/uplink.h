/*
 * The host's port of the switch: libslirp, a TCP/IP stack in user space. It is `restricted`:
 * machines reach nothing through it; only the forwards below lead in, from loopback addresses of
 * the host.
 */
#ifndef DEMO_SWITCH_UPLINK_H
#define DEMO_SWITCH_UPLINK_H

#include <poll.h>
#include <stdbool.h>
#include <stdint.h>

#include "fabric.h"

enum { FORWARDS_MAX = 8, UPLINK_POLLS_MAX = 512 };

struct uplink;

/* Adds the port `host` with `address` ("10.77.0.254/24") to the fabric. NULL with a message
 * printed. */
struct uplink *uplink_new(struct fabric *fabric, const char *address);
/* `text` is "127.0.0.1:8080=10.77.0.100:80". False with a message printed: a wrong text, a port in
 * use. */
bool uplink_forward(struct uplink *uplink, const char *text);

/* Appends slirp's descriptors to polls (room for UPLINK_POLLS_MAX) and lowers *timeout_ms. */
size_t uplink_poll_fill(struct uplink *uplink, struct pollfd *polls, uint32_t *timeout_ms);
void uplink_poll_done(struct uplink *uplink, bool poll_failed);

void uplink_free(struct uplink *uplink);

#endif
