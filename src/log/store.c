#include "src/log/store.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define STAMP_BYTES 25

static void file_name(char *path, size_t bytes, const char *name, const char *suffix)
{
	snprintf(path, bytes, "%s.log%s", name, suffix);
}

bool store_name_valid(const char *name)
{
	if (name[0] == '\0' || name[0] == '.')
		return false;
	for (const char *c = name; *c; c++)
		if (*c == '/' || (unsigned char)*c <= ' ' || *c == 0x7f)
			return false;
	return true;
}

int store_open(struct store_stream *stream, int directory_fd, const char *name)
{
	char path[SERVICE_NAME_BYTES + 8];
	struct stat st;

	if (name != stream->name)
		snprintf(stream->name, sizeof(stream->name), "%s", name);
	stream->held = 0;
	stream->file_fd = -1;
	file_name(path, sizeof(path), name, "");
	int fd = openat(directory_fd, path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW,
			0644);
	if (fd < 0)
		return -1;
	stream->file_fd = fd;
	stream->file_bytes = fstat(fd, &st) == 0 ? (size_t)st.st_size : 0;
	return 0;
}

static void rotate(struct store_stream *stream, int directory_fd)
{
	char now[SERVICE_NAME_BYTES + 8], before[SERVICE_NAME_BYTES + 8];
	struct store_stream fresh = {.file_fd = -1};

	file_name(now, sizeof(now), stream->name, "");
	file_name(before, sizeof(before), stream->name, ".1");
	if (renameat(directory_fd, now, directory_fd, before) < 0)
		return;
	if (store_open(&fresh, directory_fd, stream->name) < 0)
		return; /* goes on in the old file */
	close(stream->file_fd);
	stream->file_fd = fresh.file_fd;
	stream->file_bytes = 0;
}

/* Days since 1970-01-01 to a date: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms",
 * civil_from_days. */
static void civil(int64_t days, int *year, unsigned *month, unsigned *day)
{
	days += 719468;
	int64_t era = (days >= 0 ? days : days - 146096) / 146097;
	unsigned doe = (unsigned)(days - era * 146097);
	unsigned yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
	unsigned doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
	unsigned mp = (5 * doy + 2) / 153;

	*day = doy - (153 * mp + 2) / 5 + 1;
	*month = mp < 10 ? mp + 3 : mp - 9;
	*year = (int)((int64_t)yoe + era * 400 + (*month <= 2));
}

void store_stamp(char *text, size_t bytes, const struct timespec *now)
{
	int year;
	unsigned month, day;
	unsigned s = (unsigned)(now->tv_sec % 86400);

	/* Not gmtime(3): it may want files of the time zone, and the log process has none. */
	civil(now->tv_sec / 86400, &year, &month, &day);
	snprintf(text, bytes, "%04d-%02u-%02uT%02u:%02u:%02u.%03uZ ", year % 10000, month, day,
		 s / 3600, s / 60 % 60, s % 60, (unsigned)(now->tv_nsec / 1000000));
}

static void write_line(struct store_stream *stream, int directory_fd, const struct timespec *now)
{
	char stamp[64];

	if (stream->file_fd < 0) {
		size_t held = stream->held;
		if (store_open(stream, directory_fd, stream->name) < 0)
			return;
		stream->held = held;
	}
	store_stamp(stamp, sizeof(stamp), now);
	struct iovec part[3] = {
		{.iov_base = stamp, .iov_len = STAMP_BYTES},
		{.iov_base = stream->line, .iov_len = stream->held},
		{.iov_base = (void *)(uintptr_t) "\n", .iov_len = 1},
	};
	ssize_t n = writev(stream->file_fd, part, 3);
	stream->held = 0;
	if (n > 0)
		stream->file_bytes += (size_t)n;
	if (stream->file_bytes > STORE_FILE_BYTES)
		rotate(stream, directory_fd);
}

/*
 * A byte of UTF-8 or of anything else that no terminal takes for a command. C1 controls are C2 80
 * to C2 9F; the same bytes alone are commands to terminals of 8-bit character sets.
 */
static bool is_harmless(unsigned char before, unsigned char c)
{
	if (c < 0x80)
		return (c >= ' ' && c != 0x7f) || c == '\t';
	return c >= 0xA0 || (before >= 0x80 && before != 0xC2);
}

void store_end(struct store_stream *stream, int directory_fd, const struct timespec *now)
{
	if (stream->held > 0)
		write_line(stream, directory_fd, now);
}

void store_take(struct store_stream *stream, int directory_fd, const char *data, size_t bytes,
		const struct timespec *now)
{
	for (size_t i = 0; i < bytes; i++) {
		if (data[i] == '\n') {
			write_line(stream, directory_fd, now);
			stream->before = '\n';
			continue;
		}
		/* What a terminal would obey, it shall not find in a log. */
		unsigned char c = (unsigned char)data[i];
		bool harmless = is_harmless(stream->before, c);
		stream->line[stream->held++] = harmless ? data[i] : '?';
		stream->before = harmless ? c : '?';
		if (stream->held == sizeof(stream->line))
			write_line(stream, directory_fd, now);
	}
}
