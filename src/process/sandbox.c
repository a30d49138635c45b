#include "src/process/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/securebits.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/capability.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/*
 * Root's uid alone must give nothing: an exec by uid 0 does not fill the capability sets, and a
 * change of uid does not touch them. What remains is exactly what `capabilities =` says, through
 * the ambient set. The locks keep it so for all descendants.
 */
#define SECUREBITS                                                       \
	(SECBIT_NOROOT | SECBIT_NOROOT_LOCKED | SECBIT_NO_SETUID_FIXUP | \
	 SECBIT_NO_SETUID_FIXUP_LOCKED | SECBIT_KEEP_CAPS_LOCKED)

static bool confined(const struct service_def *service)
{
	return !service->all_capabilities;
}

int sandbox_prepare(const struct service_def *service, struct sandbox_plan *plan)
{
	*plan = (struct sandbox_plan){0};
	if (!confined(service))
		return 0;
	plan->mask = service->capabilities;
	cap_t set = cap_init();
	if (!set)
		return -1;
	for (cap_value_t cap = 0; cap < 64; cap++) {
		if (!(plan->mask >> cap & 1))
			continue;
		if (cap_set_flag(set, CAP_PERMITTED, 1, &cap, CAP_SET) < 0 ||
		    cap_set_flag(set, CAP_EFFECTIVE, 1, &cap, CAP_SET) < 0 ||
		    cap_set_flag(set, CAP_INHERITABLE, 1, &cap, CAP_SET) < 0) {
			int error = errno;
			cap_free(set);
			errno = error;
			return -1;
		}
	}
	plan->capabilities = set;
	return 0;
}

void sandbox_release(struct sandbox_plan *plan)
{
	if (plan->capabilities)
		cap_free(plan->capabilities);
	plan->capabilities = NULL;
}

/* A new network namespace has a loopback interface that is down. */
static int private_network(void)
{
	if (unshare(CLONE_NEWNET) < 0)
		return -1;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -1;
	struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
	int result = ioctl(fd, SIOCSIFFLAGS, &request);
	close(fd);
	return result;
}

/*
 * A slave: mounts and, above all, unmounts of the node go on to reach the service (a copy of a
 * mount that stays behind would keep its filesystem busy for ever), nothing goes the other way.
 * Where the node's mounts are private, the copies are too.
 */
static int own_mounts(void)
{
	if (unshare(CLONE_NEWNS) < 0)
		return -1;
	return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
}

/* A directory becomes empty, a file reads as /dev/null does. What is not there need not be hidden.
 */
static int hide(const char *path)
{
	struct stat st;
	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : -1;
	if (S_ISDIR(st.st_mode))
		return mount("hidden", path, "tmpfs", MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC,
			     "mode=0555,nr_inodes=2,size=4k");
	return mount("/dev/null", path, NULL, MS_BIND, NULL);
}

static int private_tmp(void)
{
	return mount("tmp", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=1777,size=25%");
}

/*
 * `root = empty` is OpenBSD's /var/empty: a directory of root's, in which nobody else can make
 * anything. Without capabilities and without a directory descriptor there is no way out of it.
 */
static int change_root(const char *root, const char *run_dir)
{
	if (strcmp(root, "empty") == 0) {
		int run = open(run_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		if (run < 0)
			return -1;
		if (mkdirat(run, "empty", 0555) < 0 && errno != EEXIST)
			return -1;
		int fd = openat(run, "empty", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (fd < 0 || fchdir(fd) < 0)
			return -1;
		close(fd);
		close(run);
	} else if (chdir(root) < 0) {
		return -1;
	}
	return chroot(".") < 0 ? -1 : chdir("/");
}

/* Raw calls: the C libraries' own reach for all threads of the process and take locks to do so. */
static int drop_groups(const struct service_def *service)
{
	if (syscall(SYS_setgroups, service->group_count, service->groups) < 0)
		return -1;
	gid_t gid = service->gid;
	return (int)syscall(SYS_setresgid, gid, gid, gid);
}

static int drop_user(const struct service_def *service)
{
	uid_t uid = service->uid;
	return (int)syscall(SYS_setresuid, uid, uid, uid);
}

/* The bounding set first: shrinking it needs CAP_SETPCAP, which goes with the rest right after.
 * Ambient last: it may only hold what is permitted and inheritable by then. */
static int set_capabilities(const struct sandbox_plan *plan)
{
	for (cap_value_t cap = 0; cap < 64; cap++) {
		int has = prctl(PR_CAPBSET_READ, cap, 0, 0, 0);
		if (has < 0)
			break; /* past the kernel's last one */
		if (has > 0 && !(plan->mask >> cap & 1) && prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) < 0)
			return -1;
	}
	if (cap_set_proc(plan->capabilities) < 0)
		return -1;
	if (prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) < 0 && plan->mask != 0)
		return -1;
	for (cap_value_t cap = 0; cap < 64; cap++) {
		if ((plan->mask >> cap & 1) &&
		    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, cap, 0, 0) < 0)
			return -1;
	}
	return 0;
}

/* We are an ordinary user's process: with no_new_privs, what follows can never gain anything. */
static bool nothing_to_take(const struct service_def *service, const struct sandbox_plan *plan)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return plan->mask == 0 && service->no_new_privileges &&
	       syscall(SYS_capget, &header, data) == 0 &&
	       (data[0].permitted | data[1].permitted) == 0;
}

#define STEP(which, call)                 \
	do {                              \
		failure->stage = (which); \
		if ((call) < 0)           \
			return -1;        \
	} while (0)

/* What needs root's rights over the system: namespaces, mounts, the root directory. */
static int shape_surroundings(const struct service_def *service, const char *run_dir,
			      struct sandbox_failure *failure)
{
	/* In an empty root there is nothing to hide, and no /tmp. */
	bool empty = service->root && strcmp(service->root, "empty") == 0;
	bool hides = service->hidden.count > 0 && !empty, tmp = service->private_tmp && !empty;

	if (service->private_network)
		STEP(STAGE_NETWORK, private_network());
	if (hides || tmp)
		STEP(STAGE_MOUNT_NAMESPACE, own_mounts());
	/* Before the root changes: hidden paths are the node's. */
	for (size_t i = 0; hides && i < service->hidden.count; i++) {
		failure->index = (uint32_t)i;
		STEP(STAGE_HIDDEN, hide(service->hidden.word[i]));
	}
	failure->index = 0;
	if (service->root)
		STEP(STAGE_ROOT, change_root(service->root, run_dir));
	/* After it: /tmp is the one that the service sees. */
	if (tmp)
		STEP(STAGE_PRIVATE_TMP, private_tmp());
	STEP(STAGE_DIRECTORY, chdir(service->directory ? service->directory : "/"));
	return 0;
}

int sandbox_apply(const struct service_def *service, const struct sandbox_plan *plan,
		  const struct seccomp_program *seccomp, const char *run_dir, uint64_t *ticket,
		  struct sandbox_failure *failure)
{
	bool confine = confined(service) && !nothing_to_take(service, plan);

	if (shape_surroundings(service, run_dir, failure) < 0)
		return -1;

	/* While CAP_SETPCAP is there; from here on the uid may change and the capabilities stay
	 * until we take them. */
	if (confine)
		STEP(STAGE_SECUREBITS, prctl(PR_SET_SECUREBITS, SECUREBITS, 0, 0, 0));

	/* Groups before the user, who may not change them any more. Root's own supplementary groups
	 * go as well. */
	if (service->has_user) {
		STEP(STAGE_GROUPS, drop_groups(service));
		STEP(STAGE_USER, drop_user(service));
	}

	/* After the user, because changing uid and groups takes CAP_SETUID and CAP_SETGID. */
	if (confine)
		STEP(STAGE_CAPABILITIES, set_capabilities(plan));

	/* Before the filter: without CAP_SYS_ADMIN only a process that can gain nothing may install
	 * one. */
	bool filtered = seccomp && seccomp->length > 0;
	if (service->no_new_privileges || filtered)
		STEP(STAGE_NO_NEW_PRIVILEGES, prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));

	/* Last: everything above would otherwise have to be allowed to the program as well. */
	*ticket = 0;
	if (filtered)
		STEP(STAGE_SECCOMP, seccomp_install(seccomp, ticket));
	failure->stage = STAGE_NONE;
	return 0;
}
