#include "src/process/pid_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CONTENT_BYTES 64
#define NAME_BYTES    256

/* The part of the path at `next` as a string. false: no directory has such a name. */
static bool name_of(const struct pid_file_place *place, char name[NAME_BYTES])
{
	if (place->next_length >= NAME_BYTES)
		return false;
	memcpy(name, place->next, place->next_length);
	name[place->next_length] = '\0';
	return true;
}

static void look_at(struct pid_file_place *place, const char *path)
{
	place->next = path + strspn(path, "/");
	place->next_length = strcspn(place->next, "/");
	place->whole = place->next[place->next_length] == '\0';
}

static void blocked(struct pid_file_place *place, const char *name, int error)
{
	struct stat st;
	bool link = error == ENOTDIR &&
		    fstatat(place->directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		    S_ISLNK(st.st_mode);

	snprintf(place->problem, sizeof(place->problem), "%.30s on the way there %s%s", name,
		 link		    ? "is a symbolic link"
		 : error == ENOTDIR ? "is no directory"
				    : "cannot be opened: ",
		 error == ENOTDIR ? "" : strerror(error));
}

/* One directory after the other, each without following: what openat2(2) does with
 * RESOLVE_NO_SYMLINKS, on every kernel, and it tells how far it got. */
int pid_file_find(const char *path, struct pid_file_place *place,
		  int (*each)(void *context, int directory_fd), void *context)
{
	char name[NAME_BYTES];

	*place = (struct pid_file_place){0};
	place->directory_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (place->directory_fd < 0)
		return -1;
	for (look_at(place, path);; look_at(place, place->next + place->next_length)) {
		int fd = -1;
		if (each && each(context, place->directory_fd) < 0) {
			fd = errno;
			close(place->directory_fd);
			errno = fd;
			return -1;
		}
		if (place->whole)
			return 0;
		errno = ENAMETOOLONG;
		if (name_of(place, name))
			fd = openat(place->directory_fd, name,
				    O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0) {
			if (errno != ENOENT)
				blocked(place, name, errno);
			return 0;
		}
		close(place->directory_fd);
		place->directory_fd = fd;
	}
}

static void wrong(struct pid_file *file, const char *what)
{
	snprintf(file->problem, sizeof(file->problem), "%s", what);
}

/* Digits, perhaps blanks before and after; what the lines after the first hold is the service's own
 * business. Whether a process has that number is another question. */
static void read_number(struct pid_file *file, const char *text, size_t length)
{
	size_t i = 0;
	int64_t pid = 0;

	while (i < length && (text[i] == ' ' || text[i] == '\t'))
		i++;
	size_t digits = i;
	for (; i < length && text[i] >= '0' && text[i] <= '9'; i++)
		pid = pid > INT32_MAX ? pid : pid * 10 + (text[i] - '0');
	bool number = i > digits;
	while (i < length && (text[i] == ' ' || text[i] == '\t'))
		i++;
	if (i == CONTENT_BYTES)
		wrong(file, "is too long for a number");
	else if (!number || (i < length && text[i] != '\n'))
		wrong(file, "holds something that is no number");
	else if (pid < 1 || pid > INT32_MAX)
		wrong(file, "holds a number that no process can have");
	else
		file->pid = pid;
}

static void read_content(struct pid_file *file, int fd)
{
	char text[CONTENT_BYTES];
	ssize_t n = read(fd, text, sizeof(text));

	if (n < 0)
		snprintf(file->problem, sizeof(file->problem), "cannot be read: %s",
			 strerror(errno));
	else if (n > 0)
		read_number(file, text, (size_t)n);
	else
		file->there = false; /* made, but not written yet */
}

void pid_file_read(const struct pid_file_place *place, uid_t owner, struct pid_file *file)
{
	char name[NAME_BYTES];
	struct stat st;

	*file = (struct pid_file){0};
	/* Looked at before it is opened: opening may already do something to a device. */
	if (!name_of(place, name) ||
	    fstatat(place->directory_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return;
	file->there = true;
	if (!S_ISREG(st.st_mode)) {
		wrong(file, S_ISLNK(st.st_mode) ? "is a symbolic link" : "is no regular file");
		return;
	}
	/* Not to wait for whoever holds a lease on it. */
	int fd = openat(place->directory_fd, name,
			O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
	if (fd < 0) {
		snprintf(file->problem, sizeof(file->problem), "cannot be opened: %s",
			 strerror(errno));
		return;
	}
	if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode)) {
		wrong(file, "is no regular file");
	} else if (st.st_uid != 0 && st.st_uid != owner) {
		snprintf(file->problem, sizeof(file->problem), "belongs to user %lu",
			 (unsigned long)st.st_uid);
	} else {
		file->device = st.st_dev;
		file->inode = st.st_ino;
		file->changed_ns =
			(uint64_t)st.st_ctim.tv_sec * 1000000000u + (uint64_t)st.st_ctim.tv_nsec;
		read_content(file, fd);
	}
	close(fd);
}

bool pid_file_same(const struct pid_file *a, const struct pid_file *b)
{
	return a->there && b->there && a->device == b->device && a->inode == b->inode &&
	       a->changed_ns == b->changed_ns && a->pid == b->pid;
}
