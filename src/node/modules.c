#include "src/node/modules.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "src/base/log.h"

#define DIRECTORY	"/lib/modules"
#define INDEX_BYTES_MAX (4u << 20)

/* "kernel/drivers/block/drbd/drbd.ko" is module "drbd"; also with .ko.xz and the like. */
static bool path_is_module(const char *path, size_t length, const char *name)
{
	size_t start = length;
	while (start > 0 && path[start - 1] != '/')
		start--;
	size_t i = start, j = 0;
	for (; i < length && name[j] != '\0'; i++, j++) {
		char a = path[i] == '-' ? '_' : path[i];
		char b = name[j] == '-' ? '_' : name[j];
		if (a != b)
			return false;
	}
	return name[j] == '\0' && length - i >= 3 && memcmp(path + i, ".ko", 3) == 0 &&
	       (length - i == 3 || path[i + 3] == '.');
}

static int split_line(const char *line, const char *end, struct module_path *path, size_t max)
{
	const char *colon = memchr(line, ':', (size_t)(end - line));
	size_t count = 0;

	if (!colon || max == 0)
		return -1;
	path[count++] = (struct module_path){line, (size_t)(colon - line)};
	for (const char *p = colon + 1; p < end;) {
		while (p < end && *p == ' ')
			p++;
		const char *word = p;
		while (p < end && *p != ' ')
			p++;
		if (p == word)
			break;
		if (count == max)
			return -1;
		path[count++] = (struct module_path){word, (size_t)(p - word)};
	}
	return (int)count;
}

int modules_dep_find(const char *text, size_t size, const char *name, struct module_path *path,
		     size_t max)
{
	const char *end = text + size;

	for (const char *line = text; line < end;) {
		const char *newline = memchr(line, '\n', (size_t)(end - line));
		const char *stop = newline ? newline : end;
		const char *colon = memchr(line, ':', (size_t)(stop - line));
		if (colon && path_is_module(line, (size_t)(colon - line), name))
			return split_line(line, stop, path, max);
		line = stop + 1;
	}
	return 0;
}

/* The whole of a small file, NUL-terminated, for the caller to free; NULL with errno. */
static char *read_file(const char *path, size_t *size)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return NULL;
	struct stat st;
	char *text = NULL;
	if (fstat(fd, &st) == 0 && st.st_size >= 0 && st.st_size < INDEX_BYTES_MAX)
		text = malloc((size_t)st.st_size + 1);
	size_t used = 0;
	while (text && used < (size_t)st.st_size) {
		ssize_t n = read(fd, text + used, (size_t)st.st_size - used);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		used += (size_t)n;
	}
	if (text)
		text[used] = '\0';
	*size = used;
	int saved = errno;
	close(fd);
	errno = saved;
	return text;
}

static int load_file(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		log_warn("kernel module %s: open", path);
		return -1;
	}
	long rc = syscall(SYS_finit_module, fd, "", 0);
	int saved = errno;
	close(fd);
	if (rc == 0 || saved == EEXIST)
		return 0;
	errno = saved;
	log_warn("kernel module %s: finit_module", path);
	return -1;
}

/* Built into the kernel, or loaded from elsewhere: it has a place in sysfs or is listed in
 * modules.builtin. */
static bool is_present(const char *release, const char *name)
{
	char path[PATH_MAX], plain[MODULE_NAME_BYTES];
	size_t i, size = 0;

	for (i = 0; name[i] != '\0' && i < sizeof(plain) - 1; i++)
		plain[i] = name[i] == '-' ? '_' : name[i];
	plain[i] = '\0';
	snprintf(path, sizeof(path), "/sys/module/%s", plain);
	if (access(path, F_OK) == 0)
		return true;

	snprintf(path, sizeof(path), DIRECTORY "/%s/modules.builtin", release);
	char *text = read_file(path, &size);
	bool found = false;
	for (char *line = text; line && *line && !found;) {
		size_t length = strcspn(line, "\n");
		found = path_is_module(line, length, name);
		line += length + (line[length] == '\n');
	}
	free(text);
	return found;
}

int modules_load(const char *name)
{
	struct utsname kernel;
	struct module_path module[MODULE_DEPENDENCIES_MAX];
	char path[PATH_MAX];
	size_t size = 0;

	if (strlen(name) >= MODULE_NAME_BYTES || strchr(name, '/')) {
		log_warnx("kernel module %s: not a module's name", name);
		return -1;
	}
	uname(&kernel);
	snprintf(path, sizeof(path), DIRECTORY "/%s/modules.dep", kernel.release);
	char *text = read_file(path, &size);
	if (!text) {
		if (is_present(kernel.release, name))
			return 0;
		log_warn("kernel module %s: read %s", name, path);
		return -1;
	}
	int count = modules_dep_find(text, size, name, module, MODULE_DEPENDENCIES_MAX);
	int rc = 0;
	if (count < 0) {
		log_warnx("kernel module %s: its line in %s is broken or too long", name, path);
		rc = -1;
	} else if (count == 0 && !is_present(kernel.release, name)) {
		log_warnx("kernel module %s: neither in %s nor part of the kernel", name, path);
		rc = -1;
	}
	for (int i = count - 1; i >= 0 && rc == 0; i--) {
		if (module[i].length > 0 && module[i].text[0] == '/')
			snprintf(path, sizeof(path), "%.*s", (int)module[i].length, module[i].text);
		else
			snprintf(path, sizeof(path), DIRECTORY "/%s/%.*s", kernel.release,
				 (int)module[i].length, module[i].text);
		rc = load_file(path);
	}
	free(text);
	return rc;
}
