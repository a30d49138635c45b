#include "src/node/mounts.h"

#include <stdlib.h>
#include <string.h>

/* Of the kernel itself: no disk and no server behind them. */
static const char *const kernel_types[] = {
	"autofs",  "binfmt_misc", "bpf",	 "cgroup",   "cgroup2",	  "configfs",
	"debugfs", "devpts",	  "devtmpfs",	 "efivarfs", "hugetlbfs", "mqueue",
	"nfsd",	   "nsfs",	  "ocfs2_dlmfs", "proc",     "pstore",	  "ramfs",
	"rootfs",  "rpc_pipefs",  "securityfs",	 "sysfs",    "tmpfs",	  "tracefs",
};

/* These wait for somebody who may never answer. */
static const char *const network_types[] = {"9p",   "afs", "ceph", "cifs",
					    "fuse", "nfs", "nfs4", "smb3"};

#define COUNT(table) (sizeof(table) / sizeof((table)[0]))

static bool is_one_of(const char *type, const char *const *table, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(type, table[i]) == 0)
			return true;
	return false;
}

static bool is_network(const char *type)
{
	return is_one_of(type, network_types, COUNT(network_types)) ||
	       strncmp(type, "fuse.", 5) == 0;
}

/* Blanks and backslashes of paths are written as three octal digits (proc(5)). */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from;) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] >= '0' &&
		    from[2] <= '7' && from[3] >= '0' && from[3] <= '7') {
			*to++ = (char)((from[1] - '0') * 64 + (from[2] - '0') * 8 + from[3] - '0');
			from += 4;
		} else {
			*to++ = *from++;
		}
	}
	*to = '\0';
}

static bool number(const char *word, int *value)
{
	char *rest;
	long n = word ? strtol(word, &rest, 10) : -1;

	if (!word || rest == word || *rest || n < 0 || n > 0x7fffffff)
		return false;
	*value = (int)n;
	return true;
}

/* "36 35 98:0 /in-it /where rw,noatime shared:1 - ext4 /dev/vda rw" */
static bool parse_line(char *line, struct mount_entry *entry)
{
	char *rest = line, *word, *path;

	if (!number(strsep(&rest, " "), &entry->id) || !number(strsep(&rest, " "), &entry->parent))
		return false;
	strsep(&rest, " ");
	strsep(&rest, " ");
	path = strsep(&rest, " ");
	/* Optional fields, as many as there are, end with a dash. */
	while ((word = strsep(&rest, " ")) && strcmp(word, "-") != 0)
		;
	char *type = strsep(&rest, " ");
	char *source = strsep(&rest, " ");
	if (!path || path[0] != '/' || !type || !source)
		return false;
	unescape(path);
	unescape(source);
	entry->path = path;
	entry->type = type;
	entry->source = source;
	return true;
}

static const struct mount_entry *parent_of(const struct mounts *mounts,
					   const struct mount_entry *entry)
{
	for (size_t i = 0; i < mounts->count; i++)
		if (mounts->entry[i].id == entry->parent && &mounts->entry[i] != entry)
			return &mounts->entry[i];
	return NULL;
}

/* One of the kernel's that lies below another is in the way of that one. */
static bool is_kept(const struct mounts *mounts, const struct mount_entry *entry)
{
	for (size_t steps = 0; entry && steps <= mounts->count; steps++) {
		if (strcmp(entry->path, "/") == 0)
			return true;
		if (!is_one_of(entry->type, kernel_types, COUNT(kernel_types)))
			return false;
		entry = parent_of(mounts, entry);
	}
	return true;
}

void mounts_parse(struct mounts *mounts, char *text)
{
	char *line;

	mounts->count = mounts->overlooked = 0;
	while ((line = strsep(&text, "\n"))) {
		struct mount_entry entry = {0};
		if (!*line)
			continue;
		if (mounts->count == MOUNTS_MAX || !parse_line(line, &entry))
			mounts->overlooked++;
		else
			mounts->entry[mounts->count++] = entry;
	}
	for (size_t i = 0; i < mounts->count; i++)
		mounts->entry[i].keep = is_kept(mounts, &mounts->entry[i]);
}

static bool is_there(const struct mount_entry *entry)
{
	return !entry->keep && !entry->gone && entry->way != MOUNT_LEFT;
}

static bool has_child(const struct mounts *mounts, const struct mount_entry *entry)
{
	for (size_t i = 0; i < mounts->count; i++)
		if (mounts->entry[i].parent == entry->id && &mounts->entry[i] != entry &&
		    is_there(&mounts->entry[i]))
			return true;
	return false;
}

size_t mounts_next(const struct mounts *mounts, size_t *index, size_t max)
{
	size_t found = 0;

	for (size_t i = mounts->count; i-- > 0 && found < max;)
		if (is_there(&mounts->entry[i]) && !has_child(mounts, &mounts->entry[i]))
			index[found++] = i;
	return found;
}

void mounts_told(struct mounts *mounts, const size_t *index, const enum mount_result *result,
		 size_t count)
{
	bool progress = false;

	for (size_t i = 0; i < count; i++)
		progress |= result[i] == MOUNT_UNMOUNTED;
	for (size_t i = 0; i < count; i++) {
		struct mount_entry *entry = &mounts->entry[index[i]];
		if (result[i] == MOUNT_UNMOUNTED)
			entry->gone = true;
		else if (result[i] == MOUNT_FAILED || !progress)
			entry->way = entry->way == MOUNT_PLAIN && !is_network(entry->type)
					     ? MOUNT_DETACH
					     : entry->way + 1;
	}
}

const char *mount_way_name(enum mount_way way)
{
	return way == MOUNT_PLAIN ? "unmount" : way == MOUNT_FORCE ? "unmount by force" : "detach";
}

const struct mount_entry *mounts_root(const struct mounts *mounts)
{
	/* The last one mounted there is the one that is seen. */
	for (size_t i = mounts->count; i-- > 0;)
		if (strcmp(mounts->entry[i].path, "/") == 0)
			return &mounts->entry[i];
	return NULL;
}

bool mount_is_memory(const struct mount_entry *entry)
{
	return is_one_of(entry->type, kernel_types, COUNT(kernel_types));
}
