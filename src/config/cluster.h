/*
 * The cluster file (cluster.conf, the same on all nodes) and the node file (node.conf: who am I, my
 * secret key).
 *
 * Grammar: lines `key = value`, sections `[node NAME]`, `[address NAME]`, `[share NAME]`; '#'
 * starts a comment at the start of a line or after a blank. Names: [a-z0-9][a-z0-9.-]{0,30}.
 * Unknown or doubled keys, sections and names are refused.
 */
#ifndef SUPERVISOR_CONFIG_CLUSTER_H
#define SUPERVISOR_CONFIG_CLUSTER_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/base/arena.h"
#include "src/config/report.h"

#define NAME_BYTES	      32 /* a name with its NUL */
#define CLUSTER_NODES_MAX     128
#define CLUSTER_ADDRESSES_MAX 16
#define CLUSTER_SHARES_MAX    64
#define KEY_BYTES	      32  /* X25519 public and secret keys (libsodium crypto_box) */
#define TAGS_BYTES	      129 /* a node's tags with a NUL; = MEMBERSHIP_TAGS_MAX + 1 */
#define KEYS_MAX	      2	  /* of a node: while its key is changed, the old and the new one */
#define GOSSIP_PORT_DEFAULT   7946

struct ipv4_prefix {
	struct in_addr address;
	uint8_t length; /* prefix length, 0..32 */
};

struct cluster_node {
	char name[NAME_BYTES];
	char role[NAME_BYTES]; /* also the name of its default profile */
	struct ipv4_prefix address;
	uint8_t key[KEYS_MAX][KEY_BYTES]; /* public */
	char tags[TAGS_BYTES];		  /* K=V words, single blanks between; "" none */
	size_t key_count;		  /* 0: `key = none`, nobody speaks with it */
	const char
		*disk; /* role data: backing disk of DRBD, "/dev/…" or "serial:NAME"; NULL: none */
	const char *cache; /* role php: disk of the client cache, the same forms; NULL: none */
	bool voter;
	uint16_t id; /* 1.. in the order of the file: DLM node id, DRBD preference */
};

/* A service address: moves between the nodes of `role`; `prefer` holds it while leases are static.
 */
struct cluster_address {
	char name[NAME_BYTES];
	char role[NAME_BYTES];
	struct ipv4_prefix address;
	const struct cluster_node *prefer;
	uint16_t id; /* 1.. in the order of the file */
};

/* A directory of the replicated filesystem, reached through exactly one service address of role
 * data. */
struct cluster_share {
	char name[NAME_BYTES];
	const struct cluster_address *address;
	const char *seed; /* NULL, or the directory that a new share starts as a copy of */
	uint16_t id;
};

/* Milliseconds; the same on all nodes, since one file serves all. */
struct cluster_timers {
	uint32_t drbd_timeout; /* a peer that is silent for so long is lost; a multiple of 100 */
	uint32_t nfs_lease; /* a client that is silent for so long loses its locks; whole seconds */
	uint32_t nfs_grace; /* after a server's start, clients may claim back for so long; whole
			       seconds */
};

struct cluster {
	char name[NAME_BYTES];
	uint16_t gossip_port;
	struct in_addr gateway; /* default route of all nodes; 0: none */
	struct cluster_timers timers;
	size_t node_count, address_count, share_count, voter_count;
	struct cluster_node node[CLUSTER_NODES_MAX];
	struct cluster_address address[CLUSTER_ADDRESSES_MAX];
	struct cluster_share share[CLUSTER_SHARES_MAX];
};

struct node_identity {
	char name[NAME_BYTES];
	uint8_t secret_key[KEY_BYTES];
};

/*
 * Parse text (not NUL-terminated, `size` bytes) of a file called `file` in messages. Strings are
 * copied into the arena. Return NULL / false when anything was reported.
 */
struct cluster *cluster_parse(struct arena *arena, const char *file, const char *text, size_t size,
			      struct config_report *report);
bool node_identity_parse(struct node_identity *identity, const char *file, const char *text,
			 size_t size, struct config_report *report);

/* Whether it is one of the node's. */
bool cluster_has_key(const struct cluster_node *node, const uint8_t key[KEY_BYTES]);
/* NULL: no such name. */
const struct cluster_node *cluster_find_node(const struct cluster *cluster, const char *name);
const struct cluster_address *cluster_find_address(const struct cluster *cluster, const char *name);
const struct cluster_share *cluster_find_share(const struct cluster *cluster, const char *name);
/* The other node of the same role, for pairs (data); NULL if there is none or more than one. */
const struct cluster_node *cluster_peer(const struct cluster *cluster,
					const struct cluster_node *self);

#endif
