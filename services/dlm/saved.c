#include "services/dlm/saved.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"

#define PATH_BYTES (sizeof(SAVED_DIRECTORY) + 2 + WIRE_LOCKSPACE_BYTES)
#define NEW_PATH   SAVED_DIRECTORY "/.new"

int saved_write(const struct wire_message *message)
{
	char path[PATH_BYTES];
	uint8_t bytes[WIRE_BYTES];

	snprintf(path, sizeof(path), SAVED_DIRECTORY "/%s", message->lockspace);
	wire_encode(bytes, message);
	if (mkdir(SAVED_DIRECTORY, 0700) < 0 && errno != EEXIST) {
		log_warn("make " SAVED_DIRECTORY);
		return -1;
	}
	int fd = open(NEW_PATH, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0) {
		log_warn("open " NEW_PATH);
		return -1;
	}
	const bool written = write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes);
	if (!written)
		log_warn("write " NEW_PATH);
	close(fd);
	if (!written)
		return -1;
	if (rename(NEW_PATH, path) == 0)
		return 0;
	log_warn("rename " NEW_PATH " to %s", path);
	return -1;
}

bool saved_read(struct wire_message *message, const char *lockspace)
{
	char path[PATH_BYTES];
	uint8_t bytes[WIRE_BYTES];

	snprintf(path, sizeof(path), SAVED_DIRECTORY "/%s", lockspace);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return false;
	const ssize_t n = read(fd, bytes, sizeof(bytes));
	close(fd);
	return n == (ssize_t)sizeof(bytes) && wire_decode(message, bytes) &&
	       message->kind == WIRE_VIEW && strcmp(message->lockspace, lockspace) == 0;
}

void saved_clear(void)
{
	DIR *dir = opendir(SAVED_DIRECTORY);
	if (!dir)
		return;
	for (struct dirent *entry; (entry = readdir(dir));)
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			unlinkat(dirfd(dir), entry->d_name, 0);
	closedir(dir);
}
