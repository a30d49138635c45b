/*
 * Making room in the cache. The kernel removes a cache file when told "cull NAME", NAME lying in
 * the caller's working directory, and refuses (EBUSY) what is in use. One walk over the tree keeps
 * the files of the oldest access times, those are culled; again until the kernel no longer asks.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "services/cachefiles/cachefiles.h"
#include "src/base/log.h"

#define BATCH	  64 /* files culled a walk */
#define DEPTH_MAX 8  /* the kernel's tree: cache/VOLUME/@XX/FILE */
#define STATE_MAX 512

struct candidate {
	struct timespec used;
	char path[PATH_MAX]; /* below the working directory of the walk */
};

struct batch {
	size_t count;
	struct candidate *oldest; /* BATCH of them */
};

bool cachefiles_wants_room(const char *state)
{
	return strncmp(state, "cull=1", 6) == 0;
}

static bool older(struct timespec a, struct timespec b)
{
	return a.tv_sec != b.tv_sec ? a.tv_sec < b.tv_sec : a.tv_nsec < b.tv_nsec;
}

/* Keeps the file if it is among the BATCH oldest seen so far. */
static void consider(struct batch *batch, const char *path, struct timespec used)
{
	size_t place = batch->count;

	if (batch->count < BATCH) {
		batch->count++;
	} else {
		place = 0;
		for (size_t i = 1; i < BATCH; i++)
			if (older(batch->oldest[place].used, batch->oldest[i].used))
				place = i;
		if (!older(used, batch->oldest[place].used))
			return;
	}
	batch->oldest[place].used = used;
	snprintf(batch->oldest[place].path, sizeof(batch->oldest[place].path), "%s", path);
}

static void walk(struct batch *batch, const char *directory, int depth)
{
	DIR *dir = opendir(directory);
	struct dirent *entry;

	if (dir == NULL)
		return;
	while ((entry = readdir(dir)) != NULL) {
		char path[PATH_MAX];
		struct stat status;
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		int length = snprintf(path, sizeof(path), "%s/%s", directory, entry->d_name);
		if (length < 0 || (size_t)length >= sizeof(path) || lstat(path, &status) < 0)
			continue;
		if (S_ISDIR(status.st_mode) && depth < DEPTH_MAX)
			walk(batch, path, depth + 1);
		else if (S_ISREG(status.st_mode))
			consider(batch, path, status.st_atim);
	}
	closedir(dir);
}

/* True: the kernel removed it. */
static bool cull_one(int device, const char *path)
{
	char parent[PATH_MAX], text[NAME_MAX + 8];
	const char *slash = strrchr(path, '/');

	snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
	if (chdir(parent) < 0)
		return false;
	int length = snprintf(text, sizeof(text), "cull %s", slash + 1);
	bool culled = length > 0 && (size_t)length < sizeof(text) &&
		      write(device, text, (size_t)length) == length;
	if (!culled && errno != EBUSY && errno != ESTALE && errno != ENOENT)
		log_warn("cull %s", path);
	return culled;
}

static int by_use(const void *a, const void *b)
{
	const struct candidate *left = a, *right = b;

	if (older(left->used, right->used))
		return -1;
	return older(right->used, left->used) ? 1 : 0;
}

static bool still_wants_room(int device)
{
	char state[STATE_MAX];
	ssize_t length = read(device, state, sizeof(state) - 1);

	if (length < 0)
		return false;
	state[length] = '\0';
	return cachefiles_wants_room(state);
}

void cachefiles_cull(int device, const char *directory)
{
	struct batch batch = {.oldest = calloc(BATCH, sizeof(struct candidate))};
	char top[PATH_MAX];
	size_t total = 0, culled;
	bool wanted = true;

	if (batch.oldest == NULL) {
		log_warn("cull");
		return;
	}
	snprintf(top, sizeof(top), "%s/cache", directory);
	do {
		culled = 0;
		batch.count = 0;
		walk(&batch, top, 0);
		qsort(batch.oldest, batch.count, sizeof(batch.oldest[0]), by_use);
		for (size_t i = 0; i < batch.count && wanted; i++) {
			if (!cull_one(device, batch.oldest[i].path))
				continue;
			culled++;
			wanted = still_wants_room(device);
		}
		total += culled;
	} while (culled > 0 && wanted);
	if (chdir("/") < 0)
		log_warn("change to /");
	free(batch.oldest);
	log_info("culled %zu files of the cache", total);
}
