/*
 * Messages of rtnetlink(7), built and read in memory: no socket here, so that every reader can be
 * fed with anything (tests/fuzz/fuzz_netlink.c). Layouts are those of linux/netlink.h and
 * linux/rtnetlink.h.
 */
#ifndef SUPERVISOR_NODE_NETLINK_MESSAGE_H
#define SUPERVISOR_NODE_NETLINK_MESSAGE_H

#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MAC_BYTES		     6
#define NETLINK_REQUEST_BYTES	     512
#define NETLINK_INTERFACE_NAME_BYTES 16 /* IFNAMSIZ, with the NUL */

/* A request under construction. Once something did not fit, `overflow` stays set and the length
 * stops growing. */
struct netlink_request {
	_Alignas(NLMSG_ALIGNTO) uint8_t bytes[NETLINK_REQUEST_BYTES];
	size_t length;
	bool overflow;
};

/* Begins with a header and `header_bytes` of the family's own header (struct ifinfomsg, …). */
void netlink_begin(struct netlink_request *request, uint16_t type, uint16_t flags,
		   const void *header, size_t header_bytes);
void netlink_put(struct netlink_request *request, uint16_t type, const void *data, size_t bytes);
void netlink_put_u32(struct netlink_request *request, uint16_t type, uint32_t value);
void netlink_put_string(struct netlink_request *request, uint16_t type, const char *text);
/* A nested attribute: everything put between begin and end lies inside. Returns a mark for end. */
size_t netlink_nest_begin(struct netlink_request *request, uint16_t type);
void netlink_nest_end(struct netlink_request *request, size_t mark);
/* Writes length and sequence number into the header. False when something had not fitted. */
bool netlink_finish(struct netlink_request *request, uint32_t sequence);

/* One message of an answer. `payload` points into the caller's buffer. */
struct netlink_answer {
	uint16_t type, flags;
	uint32_t sequence;
	const uint8_t *payload;
	size_t bytes;
};

struct netlink_link {
	int index;
	uint32_t flags; /* IFF_UP, IFF_RUNNING, … */
	char name[NETLINK_INTERFACE_NAME_BYTES];
	uint8_t mac[MAC_BYTES];
	bool has_mac;
};

struct netlink_address {
	int index; /* of the interface that holds it */
	struct in_addr address;
	uint8_t length; /* prefix length */
};

/*
 * The message at *offset of buffer[0..bytes): 1 and *offset moved past it; 0 at the end; -1 when
 * what is there is no whole message.
 */
int netlink_next(const uint8_t *buffer, size_t bytes, size_t *offset,
		 struct netlink_answer *answer);
/* NLMSG_ERROR: the errno that it carries, 0 = acknowledged; -1: malformed. */
int netlink_error_of(const struct netlink_answer *answer);
/* RTM_NEWLINK / RTM_NEWADDR (IPv4). False: malformed, or not of that kind. */
bool netlink_read_link(const struct netlink_answer *answer, struct netlink_link *link);
bool netlink_read_address(const struct netlink_answer *answer, struct netlink_address *address);

#endif
