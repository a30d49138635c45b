/*
 * Variables in words of service and profile files and in template files (*.in).
 *
 *   %%                 a percent sign
 *   %i                 the instance: NAME of share@NAME, the number of a pool's member
 *   %{node} %{role} %{address} %{disk} %{cache}     this node
 *   %{peer} %{peer.address}                         the other node of this node's role, in a pair
 *   %{cluster} %{gossip-port}                       the cluster
 *   %{address.NAME}                                 a service address
 *   %{share.address}                                the service address of the share named %i
 *   %{default-share}                                the first share of cluster.conf
 *   %{shares} %{nodes.ROLE} %{addresses.ROLE} %{leases.ROLE}    lists: names of the shares, names
 * and addresses of the nodes of a role, names of a role's service addresses
 *   %{LIST:TEXT}       the elements of a list joined by TEXT, a single value
 *
 * Addresses come without their prefix length. A word with a list variable is repeated once per
 * element (an empty list: no word), and so is a line of a template file; two different lists in one
 * word or line are refused.
 *
 * Order: a line is split into words first, then words are expanded, then their meaning is read.
 * What a variable brings in is never split, never expanded again and never a comment.
 */
#ifndef SUPERVISOR_CONFIG_EXPAND_H
#define SUPERVISOR_CONFIG_EXPAND_H

#include "src/config/cluster.h"
#include "src/config/lines.h"

#define TEMPLATE_BYTES_MAX (1024u * 1024u) /* of an expanded template file */

struct expand_scope {
	const char *instance;		 /* NULL: none */
	const char *node;		 /* name of this node; NULL: unknown */
	const struct cluster *cluster;	 /* NULL: no cluster.conf */
	const struct cluster_node *self; /* NULL without a cluster */
};

/*
 * All return false (NULL) after having reported. Results live in the arena, all that is made on the
 * way in the scratch arena.
 */
bool expand_words(struct arena *arena, struct arena *scratch, const struct place *place,
		  const struct expand_scope *scope, const struct words *in, struct words *out);
/* A text that stands for one value: list variables only joined. */
const char *expand_one(struct arena *arena, struct arena *scratch, const struct place *place,
		       const struct expand_scope *scope, const char *text);
/* A template file of `size` bytes, named `file` in messages; *out_bytes without the NUL at its end.
 */
const char *expand_template(struct arena *arena, struct arena *scratch,
			    struct config_report *report, const char *file,
			    const struct expand_scope *scope, const char *text, size_t size,
			    size_t *out_bytes);

#endif
