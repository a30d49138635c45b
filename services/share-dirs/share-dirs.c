/*
 * Worker `@share-dirs DIR USER GROUP`: makes DIR/NAME for each share of the cluster file that this
 * node serves first (the share's address prefers it), so that exactly one node makes each. A new
 * one is built under a temporary name, as a copy of its `seed` if it has one, and renamed when it
 * is complete and on the disk: a share is never seen half made. What exists is left alone.
 *
 * USER and GROUP are numeric, the owner of everything that is made here.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/worker/worker.h"

#define DEPTH_MAX      32
#define DIRECTORY_MODE 0775
#define COPY_BYTES     (1u << 20)
#define NEW_NAME_BYTES (NAME_BYTES + 16)

struct owner {
	uid_t uid;
	gid_t gid;
};

static bool is_dots(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

/* Removes name below directory_fd with all it holds; links are removed, not followed. */
static int remove_tree(int directory_fd, const char *name, int depth)
{
	if (unlinkat(directory_fd, name, 0) == 0 || errno == ENOENT)
		return 0;
	if ((errno != EISDIR && errno != EPERM) || depth > DEPTH_MAX)
		return -1;
	int fd = openat(directory_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		if (fd >= 0)
			close(fd);
		return -1;
	}
	int rc = 0;
	for (struct dirent *entry; rc == 0 && (entry = readdir(dir));)
		if (!is_dots(entry->d_name))
			rc = remove_tree(dirfd(dir), entry->d_name, depth + 1);
	closedir(dir);
	return rc < 0 ? -1 : unlinkat(directory_fd, name, AT_REMOVEDIR);
}

static int copy_file(int from_fd, int to_directory, const char *name, mode_t mode,
		     const struct owner *owner)
{
	int to_fd = openat(to_directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			   0600);
	if (to_fd < 0)
		return -1;
	ssize_t n;
	while ((n = sendfile(to_fd, from_fd, NULL, COPY_BYTES)) > 0)
		;
	int rc = n < 0 || fchown(to_fd, owner->uid, owner->gid) < 0 ||
				 fchmod(to_fd, (mode & 0777) | 0060) < 0 || fsync(to_fd) < 0
			 ? -1
			 : 0;
	int saved = errno;
	close(to_fd);
	errno = saved;
	return rc;
}

static int copy_link(int from_directory, int to_directory, const char *name,
		     const struct owner *owner)
{
	char target[PATH_MAX];
	ssize_t n = readlinkat(from_directory, name, target, sizeof(target) - 1);

	if (n < 0)
		return -1;
	target[n] = '\0';
	return symlinkat(target, to_directory, name) < 0 ||
			       fchownat(to_directory, name, owner->uid, owner->gid,
					AT_SYMLINK_NOFOLLOW) < 0
		       ? -1
		       : 0;
}

static int copy_directory(int from_fd, int to_fd, const struct owner *owner, int depth);

static int copy_entry(int from_directory, int to_directory, const char *name,
		      const struct owner *owner, int depth)
{
	struct stat st;

	if (fstatat(from_directory, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -1;
	if (S_ISLNK(st.st_mode))
		return copy_link(from_directory, to_directory, name, owner);
	if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)) {
		log_warnx("seed: %s is neither a file, a directory nor a link: left out", name);
		return 0;
	}
	int from_fd = openat(from_directory, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	if (from_fd < 0)
		return -1;
	int rc = -1;
	if (S_ISREG(st.st_mode)) {
		rc = copy_file(from_fd, to_directory, name, st.st_mode, owner);
	} else if (mkdirat(to_directory, name, DIRECTORY_MODE) == 0) {
		int to_fd =
			openat(to_directory, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (to_fd >= 0) {
			rc = copy_directory(from_fd, to_fd, owner, depth + 1);
			close(to_fd);
		}
	}
	int saved = errno;
	close(from_fd);
	errno = saved;
	return rc;
}

/* Fills the open directory to_fd with copies of what is in from_fd. The first error ends it. */
static int copy_directory(int from_fd, int to_fd, const struct owner *owner, int depth)
{
	if (depth > DEPTH_MAX) {
		errno = ELOOP;
		return -1;
	}
	int fd = dup(from_fd);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return -1;
	int rc = 0;
	for (struct dirent *entry; rc == 0 && (entry = readdir(dir));) {
		if (is_dots(entry->d_name))
			continue;
		rc = copy_entry(from_fd, to_fd, entry->d_name, owner, depth);
		if (rc < 0)
			log_warn("seed: copy %s", entry->d_name);
	}
	closedir(dir);
	if (rc == 0 && (fchown(to_fd, owner->uid, owner->gid) < 0 ||
			fchmod(to_fd, DIRECTORY_MODE) < 0 || fsync(to_fd) < 0))
		rc = -1;
	return rc;
}

static int copy_seed(int new_fd, const char *seed, const struct owner *owner)
{
	int from_fd = open(seed, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (from_fd < 0)
		return -1;
	int rc = copy_directory(from_fd, new_fd, owner, 0);
	int saved = errno;
	close(from_fd);
	errno = saved;
	return rc;
}

/* -1 with errno. */
static int make_share(int root_fd, const struct cluster_share *share, const struct owner *owner)
{
	char new_name[NEW_NAME_BYTES];

	snprintf(new_name, sizeof(new_name), ".new-%s", share->name);
	if (remove_tree(root_fd, new_name, 0) < 0 || mkdirat(root_fd, new_name, 0700) < 0)
		return -1;
	int new_fd = openat(root_fd, new_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (new_fd < 0)
		return -1;
	int rc = share->seed ? copy_seed(new_fd, share->seed, owner) : 0;
	if (rc == 0 && (fchown(new_fd, owner->uid, owner->gid) < 0 ||
			fchmod(new_fd, DIRECTORY_MODE) < 0 || fsync(new_fd) < 0))
		rc = -1;
	int saved = errno;
	close(new_fd);
	errno = saved;
	if (rc < 0 || renameat(root_fd, new_name, root_fd, share->name) < 0)
		return -1;
	return fsync(root_fd);
}

static int make_shares(const struct worker_context *context, const char *root,
		       const struct owner *owner)
{
	int root_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = 0;

	if (root_fd < 0) {
		log_warn("open %s", root);
		return 1;
	}
	for (size_t i = 0; i < context->cluster->share_count; i++) {
		const struct cluster_share *share = &context->cluster->share[i];
		if (share->address->prefer != context->self ||
		    faccessat(root_fd, share->name, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
			continue;
		if (make_share(root_fd, share, owner) < 0) {
			log_warn("make share %s in %s", share->name, root);
			rc = 1;
		} else {
			log_info("made share %s%s%s", share->name, share->seed ? " from " : "",
				 share->seed ? share->seed : "");
		}
	}
	close(root_fd);
	return rc;
}

static bool parse_id(const char *text, unsigned *id)
{
	char *end;

	errno = 0;
	const unsigned long value = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || errno || value >= 1u << 31)
		return false;
	*id = (unsigned)value;
	return true;
}

int share_dirs_worker(int argc, char **argv)
{
	struct worker_context context;
	unsigned uid, gid;

	if (argc != 4 || argv[1][0] != '/' || !parse_id(argv[2], &uid) ||
	    !parse_id(argv[3], &gid)) {
		log_warnx("expected DIRECTORY USER-ID GROUP-ID");
		return 2;
	}
	const struct owner owner = {uid, gid};
	worker_load(&context);
	umask(0);
	return make_shares(&context, argv[1], &owner);
}
