/*
 * What the kernel's nfsd asks before it serves anybody, and our answers: who is this client, what
 * may it mount, which directory is this file handle of. Questions and answers are lines of
 * /proc/net/rpc/CACHE/channel (net/sunrpc/cache.c, fs/nfsd/export.c). Pure: no file is touched
 * here.
 *
 * Only nodes of the cluster file are clients, told apart by their addresses. A client belongs to
 * the domain named as its role: web nodes read, data nodes get nothing, all others read and write;
 * root of a client is nobody everywhere. Each share that this address serves is an export of its
 * own; the directory above them shows only these, to walk through.
 */
#ifndef SUPERVISOR_SERVICES_NFSD_EXPORTS_H
#define SUPERVISOR_SERVICES_NFSD_EXPORTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "src/config/cluster.h"

#define EXPORTS_LINE_BYTES 4096 /* the kernel's questions are at most a page */

enum exports_cache {
	EXPORTS_CLIENT, /* auth.unix.ip: address -> domain */
	EXPORTS_EXPORT, /* nfsd.export: domain, path -> options */
	EXPORTS_HANDLE, /* nfsd.fh: domain, file system id -> path */
	EXPORTS_CACHES
};

struct exports {
	const struct cluster *cluster;
	const struct cluster_address *address; /* whose shares are served */
	const char *root;		       /* directory that holds the shares, e.g. "/data" */
};

struct exports_line {
	char text[EXPORTS_LINE_BYTES];
	size_t length;
};

/* Name of the folder under /proc/net/rpc. */
const char *exports_cache_name(enum exports_cache cache);
/*
 * Stable across restarts, nodes and changes of the cluster file: clients keep file handles that
 * contain it. Never 0, which is the directory above the shares.
 */
uint32_t exports_share_id(const char *share_name);
/* Two shares of one cluster file with the same id, by bad luck: the first such share, or NULL. */
const struct cluster_share *exports_id_clash(const struct cluster *cluster);

/*
 * The answer to one question (with or without its newline). False: not understood; there is no
 * answer then. `refuse`: answer no, whatever it is (the directory turned out not to be there).
 */
bool exports_answer(const struct exports *exports, enum exports_cache cache, const char *question,
		    size_t length, bool refuse, struct exports_line *answer);

#endif
