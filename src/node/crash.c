#include "src/node/crash.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>

#include "src/base/log.h"
#include "src/config/embedded.h"

#define STACK_BYTES    32768
#define LINE_BYTES     512
#define ABOUT_BYTES    64
#define BUILD_ID_BYTES 20
#define RESET_SECONDS  20 /* after reboot(2) has got stuck in some driver */

static struct {
	pid_t pid;
	bool machine;
	uintptr_t base; /* where the program is loaded; 0: not known */
	char build_id[2 * BUILD_ID_BYTES + 1];
	const char *volatile what, *volatile goal;
	char about[ABOUT_BYTES];
} crash = {.what = "begin", .goal = "run"};

static char stack[STACK_BYTES] __attribute__((aligned(16)));

void crash_doing(const char *what, const char *about)
{
	size_t i = 0;

	/* The name of a service may be gone by then, with its configuration. */
	while (about && about[i] && i < sizeof(crash.about) - 1) {
		crash.about[i] = about[i];
		i++;
	}
	crash.about[i] = '\0';
	crash.what = what;
}

void crash_goal(const char *goal)
{
	crash.goal = goal;
}

/* ---- a line, without the C library ---- */

struct line {
	char text[LINE_BYTES];
	size_t used;
};

static void add(struct line *line, const char *text)
{
	while (text && *text && line->used < sizeof(line->text) - 1)
		line->text[line->used++] = *text++;
}

static void add_number(struct line *line, uint64_t number, unsigned base)
{
	char digits[24], *p = digits + sizeof(digits) - 1;

	*p = '\0';
	do {
		*--p = "0123456789abcdef"[number % base];
		number /= base;
	} while (number);
	if (base == 16)
		add(line, "0x");
	add(line, p);
}

static void say(struct line *line)
{
	line->text[line->used++] = '\n';
	if (write(STDERR_FILENO, line->text, line->used) > 0 || !crash.machine)
		return;
	/* The console does not take it; the kernel's own messages may yet be seen. */
	int fd = open("/dev/kmsg", O_WRONLY | O_NONBLOCK | O_CLOEXEC);
	if (fd >= 0 && write(fd, line->text, line->used) > 0)
		close(fd);
}

/* ---- the report ---- */

static const char *signal_name(int number)
{
	switch (number) {
	case SIGSEGV:
		return "SIGSEGV";
	case SIGBUS:
		return "SIGBUS";
	case SIGFPE:
		return "SIGFPE";
	case SIGILL:
		return "SIGILL";
	case SIGABRT:
		return "SIGABRT";
	default:
		return "signal";
	}
}

static uint64_t program_counter(const void *context)
{
	const ucontext_t *u = context;
#if defined(__x86_64__)
	return (uint64_t)u->uc_mcontext.gregs[REG_RIP];
#elif defined(__aarch64__)
	return u->uc_mcontext.pc;
#else
	(void)u;
	return 0;
#endif
}

static void report(int number, const siginfo_t *info, const void *context)
{
	uint64_t pc = program_counter(context), base = crash.base;
	struct line line = {.used = 0};

	add(&line, "supervisor: CRASHED: ");
	add(&line, signal_name(number));
	if (info->si_code <= 0) {
		add(&line, " sent by process ");
		add_number(&line, (uint64_t)(uint32_t)info->si_pid, 10);
	} else {
		add(&line, " at address ");
		add_number(&line, (uint64_t)(uintptr_t)info->si_addr, 16);
	}
	add(&line, ", pc ");
	add_number(&line, pc, 16);
	if (base && pc >= base) {
		add(&line, " (the program + ");
		add_number(&line, pc - base, 16);
		add(&line, ")");
	}
	say(&line);

	line.used = 0;
	add(&line, "supervisor: version ");
	add(&line, supervisor_version);
	add(&line, ", build id ");
	add(&line, crash.build_id);
	add(&line, "; goal: ");
	add(&line, crash.goal);
	add(&line, "; was at: ");
	add(&line, crash.what);
	if (crash.about[0]) {
		add(&line, " of ");
		add(&line, crash.about);
	}
	say(&line);
}

/* ---- what follows ---- */

static void pause_seconds(time_t seconds)
{
	struct timespec left = {.tv_sec = seconds};

	while (nanosleep(&left, &left) < 0 && errno == EINTR)
		;
}

/* The call itself: what the C library does around fork may be what is broken. */
static pid_t child(void)
{
	return (pid_t)syscall(SYS_clone, SIGCHLD, NULL, NULL, NULL, NULL);
}

static void write_all(void)
{
	if (child() == 0) {
		sync();
		_exit(0);
	}
}

static void reset_later(void)
{
	if (child() != 0)
		return;
	int fd = open("/proc/sysrq-trigger", O_WRONLY | O_CLOEXEC);
	pause_seconds(RESET_SECONDS);
	if (write(fd, "b", 1) != 1)
		_exit(1);
	_exit(0);
}

static _Noreturn void on_crash(int number, siginfo_t *info, void *context)
{
	/* Past vfork and clone the C library may have kept an old number: ask the kernel. */
	if ((pid_t)syscall(SYS_getpid) != crash.pid)
		_exit(128 + number);
	report(number, info, context);
	if (!crash.machine)
		_exit(128 + number);
	struct line line = {.used = 0};
	add(&line, "supervisor: reboot in ");
	add_number(&line, CRASH_SECONDS, 10);
	add(&line, " s");
	say(&line);
	write_all();
	pause_seconds(CRASH_SECONDS);
	reset_later();
	syscall(SYS_reboot, 0xfee1dead, 0x28121969, RB_AUTOBOOT, NULL);
	for (;;)
		pause();
}

static void take_build_id(const unsigned char *id, size_t bytes)
{
	for (size_t k = 0; k < bytes && k < BUILD_ID_BYTES; k++) {
		crash.build_id[2 * k] = "0123456789abcdef"[id[k] >> 4];
		crash.build_id[2 * k + 1] = "0123456789abcdef"[id[k] & 15];
	}
}

/* Notes: three words (name's length, content's length, type), name, content, each filled up to 4.
 */
static void look_for_build_id(const unsigned char *at, size_t bytes)
{
	Elf64_Nhdr note;

	while (bytes >= sizeof(note)) {
		memcpy(&note, at, sizeof(note));
		size_t name = (note.n_namesz + 3) & ~(size_t)3,
		       content = (note.n_descsz + 3) & ~(size_t)3;
		if (name + content > bytes - sizeof(note))
			return;
		if (note.n_type == NT_GNU_BUILD_ID && note.n_namesz == sizeof("GNU"))
			take_build_id(at + sizeof(note) + name, note.n_descsz);
		at += sizeof(note) + name + content;
		bytes -= sizeof(note) + name + content;
	}
}

/* The kernel has told where the program's headers are; they say where in it what is. */
static void find_build_id(void)
{
	const Elf64_Phdr *program = (const void *)(uintptr_t)getauxval(AT_PHDR);
	size_t count = getauxval(AT_PHNUM);

	memcpy(crash.build_id, "none", sizeof("none"));
	for (size_t i = 0; program && i < count; i++)
		/* A static program has no PT_PHDR; its headers are where the file begins. */
		if (program[i].p_type == PT_LOAD && program[i].p_offset == 0)
			crash.base = (uintptr_t)program - sizeof(Elf64_Ehdr) - program[i].p_vaddr;
	for (size_t i = 0; program && crash.base && i < count; i++)
		if (program[i].p_type == PT_NOTE)
			look_for_build_id((const void *)(crash.base + program[i].p_vaddr),
					  program[i].p_memsz);
}

void crash_install(bool machine)
{
	static const int signals[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT};
	stack_t alternate = {.ss_sp = stack, .ss_size = sizeof(stack)};
	/* A second one while the first is being reported gets the kernel's own answer: its panic.
	 */
	struct sigaction action = {.sa_sigaction = on_crash,
				   .sa_flags = (int)(SA_SIGINFO | SA_ONSTACK | SA_RESETHAND)};

	crash.pid = getpid();
	crash.machine = machine;
	find_build_id();
	sigfillset(&action.sa_mask);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		sigdelset(&action.sa_mask, signals[i]);
	if (sigaltstack(&alternate, NULL) < 0)
		action.sa_flags = (int)(SA_SIGINFO | SA_RESETHAND);
	for (size_t i = 0; i < sizeof(signals) / sizeof(signals[0]); i++)
		if (sigaction(signals[i], &action, NULL) < 0)
			log_warn("handler of signal %d", signals[i]);
}
