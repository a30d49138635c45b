#include "src/node/blank.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "src/base/log.h"

#define CHUNK_BYTES 65536u

struct magic {
	const char *kind;
	int64_t offset; /* negative: from the end of the disk, rounded down to 4 KiB */
	size_t length;
	const char *bytes;
};

/* Offsets and numbers from the kernel's own headers (include/uapi/linux/magic.h, the file systems'
 * own, drbd_meta_data.h). */
static const struct magic magics[] = {
	{"a partition table or boot sector", 510, 2, "\x55\xaa"},
	{"a GPT partition table", 512, 8, "EFI PART"},
	{"ext2/3/4", 1080, 2, "\x53\xef"},
	{"XFS", 0, 4, "XFSB"},
	{"btrfs", 65600, 8, "_BHRfS_M"},
	{"LUKS", 0, 6, "LUKS\xba\xbe"},
	{"an LVM physical volume", 512, 8, "LABELONE"},
	{"an LVM physical volume", 0, 8, "LABELONE"},
	{BLANK_KIND_OCFS2, 1024, 6, "OCFSV2"},
	{BLANK_KIND_OCFS2, 2048, 6, "OCFSV2"},
	{BLANK_KIND_OCFS2, 4096, 6, "OCFSV2"},
	{BLANK_KIND_OCFS2, 8192, 6, "OCFSV2"},
	{"swap", 4086, 10, "SWAPSPACE2"},
	{"an MD RAID member", 4096, 4, "\xfc\x4e\x2b\xa9"},
	{"squashfs", 0, 4, "hsqs"},
	{"EROFS", 1024, 4, "\xe2\xe1\xf5\xe0"},
	{"a tar archive", 257, 5, "ustar"},
	{BLANK_KIND_DRBD, -4096 + 60, 4, "\x83\x74\x02\x6b"},
	{BLANK_KIND_DRBD, -4096 + 60, 4, "\x83\x74\x02\x6c"},
};

/* Fills the buffer or fails: a short read of a disk is an error like any other. */
static int read_at(int fd, unsigned char *buffer, size_t bytes, uint64_t offset)
{
	while (bytes > 0) {
		ssize_t n = pread(fd, buffer, bytes, (off_t)offset);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			if (n == 0)
				errno = EIO;
			return -1;
		}
		buffer += n;
		bytes -= (size_t)n;
		offset += (uint64_t)n;
	}
	return 0;
}

static bool magic_is_there(int fd, uint64_t size, const struct magic *m)
{
	unsigned char found[16];
	uint64_t base = m->offset < 0 ? size & ~UINT64_C(4095) : 0;

	if (m->offset < 0 && base < (uint64_t)-m->offset)
		return false;
	uint64_t offset = base + (uint64_t)m->offset;
	return offset + m->length <= size && read_at(fd, found, m->length, offset) == 0 &&
	       memcmp(found, m->bytes, m->length) == 0;
}

const char *blank_magic(int fd, uint64_t size)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (magic_is_there(fd, size, &magics[i]))
			return magics[i].kind;
	return NULL;
}

bool blank_holds(int fd, uint64_t size, const char *kind)
{
	for (size_t i = 0; i < sizeof(magics) / sizeof(magics[0]); i++)
		if (strcmp(magics[i].kind, kind) == 0 && magic_is_there(fd, size, &magics[i]))
			return true;
	return false;
}

/* 1: all zero; 0: *where is the first byte that is not; -1: errno. */
static int range_is_zero(int fd, uint64_t from, uint64_t to, uint64_t *where)
{
	static unsigned char chunk[CHUNK_BYTES];

	while (from < to) {
		size_t bytes = to - from < CHUNK_BYTES ? (size_t)(to - from) : CHUNK_BYTES;
		if (read_at(fd, chunk, bytes, from) < 0)
			return -1;
		if (chunk[0] != 0 || memcmp(chunk, chunk + 1, bytes - 1) != 0) {
			for (size_t i = 0; i < bytes; i++) {
				if (chunk[i] != 0) {
					*where = from + i;
					return 0;
				}
			}
		}
		from += bytes;
	}
	return 1;
}

int blank_check(int fd, uint64_t size, struct blank_finding *finding)
{
	const uint64_t head = size < BLANK_END_BYTES ? size : BLANK_END_BYTES;
	const uint64_t tail = size - head;
	int zero = range_is_zero(fd, 0, head, &finding->offset);

	if (zero == 1)
		zero = range_is_zero(fd, tail, size, &finding->offset);
	if (zero == 1 && tail > head) {
		const uint64_t step = (tail - head) / BLANK_SAMPLES;
		for (uint64_t i = 0; i < BLANK_SAMPLES && zero == 1; i++) {
			uint64_t from = head + i * step;
			uint64_t to =
				from + (step < BLANK_SAMPLE_BYTES ? step : BLANK_SAMPLE_BYTES);
			zero = range_is_zero(fd, from, to, &finding->offset);
		}
	}
	finding->kind = zero == 0 ? blank_magic(fd, size) : NULL;
	return zero;
}

int64_t blank_size(int fd)
{
	struct stat st;

	if (fstat(fd, &st) < 0)
		return -1;
	if (!S_ISBLK(st.st_mode))
		return (int64_t)st.st_size;
	return (int64_t)lseek(fd, 0,
			      SEEK_END); /* ioctl's number has another type in each C library */
}

int blank_check_path(const char *path)
{
	struct blank_finding finding = {0, NULL};
	int fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0) {
		log_warn("is %s blank? open for exclusive use", path);
		return -1;
	}
	int64_t size = blank_size(fd);
	int blank = size < 0 ? -1 : blank_check(fd, (uint64_t)size, &finding);
	if (blank < 0)
		log_warn("is %s blank? read", path);
	else if (blank == 0 && finding.kind)
		log_warnx("%s holds %s: not touched", path, finding.kind);
	else if (blank == 0)
		log_warnx("%s is not blank (data of unknown kind, first at byte %llu): not touched",
			  path, (unsigned long long)finding.offset);
	close(fd);
	return blank;
}
