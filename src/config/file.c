#include "src/config/file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

static int read_all(struct arena *arena, int fd, struct file_text *file)
{
	struct stat status;
	if (fstat(fd, &status) < 0)
		return errno;
	if (!S_ISREG(status.st_mode))
		return EINVAL;
	if (status.st_size > FILE_READ_BYTES_MAX)
		return EFBIG;

	size_t size = (size_t)status.st_size, used = 0;
	char *text = arena_alloc(arena, size + 1);
	if (!text)
		return ENOMEM;
	while (used < size) {
		ssize_t n = read(fd, text + used, size - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno;
		if (n == 0)
			break;
		used += (size_t)n;
	}
	text[used] = 0;
	*file = (struct file_text){.text = text, .size = used, .mode = status.st_mode};
	return 0;
}

int file_read(struct arena *arena, const char *path, struct file_text *file)
{
	/* A FIFO or device under this name must not make the opening wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return errno;
	int error = read_all(arena, fd, file);
	close(fd);
	return error;
}
