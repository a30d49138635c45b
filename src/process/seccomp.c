#include "src/process/seccomp.h"

#include <errno.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <seccomp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "src/config/embedded.h"
#include "src/process/seccomp_names.h"

#define GROUPS_FILE	 "services/seccomp/groups.in"
#define GROUP_DEPTH_MAX	 8 /* groups in groups */
#define RULES_MAX	 768
#define WORD_BYTES	 64
#define INSTRUCTIONS_MAX 4096 /* BPF_MAXINSNS, the kernel's own limit */

/* Flags of clone(2) that make a namespace; clone3(2) passes them behind a pointer, where no filter
 * sees them. */
#define CLONE_NAMESPACES                                                                    \
	(0x00000080ULL /* CLONE_NEWTIME */ | CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | \
	 CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET)

/* The prologue that lets the one exec with a ticket through (seccomp.h). */
enum { TICKET_LOW = 5, TICKET_HIGH = 7, PROLOGUE = 9 };

struct rule {
	int number;    /* as resolved by libseccomp */
	int error;     /* 0: allow; else fail with it */
	bool selected; /* only when the selector argument is `value` */
	uint64_t value;
};

struct compiler {
	const char *groups;
	struct rule rule[RULES_MAX];
	size_t count;
	char *error;
	size_t error_bytes;
};

static int complain(struct compiler *compiler, const char *what, const char *word)
{
	snprintf(compiler->error, compiler->error_bytes, "%s \"%s\"", what, word);
	return -1;
}

static int add_rule(struct compiler *compiler, const struct rule *rule, const char *word)
{
	for (size_t i = 0; i < compiler->count; i++) {
		const struct rule *known = &compiler->rule[i];
		if (known->number == rule->number && known->error == rule->error &&
		    known->selected == rule->selected && known->value == rule->value)
			return 0;
	}
	if (compiler->count == RULES_MAX)
		return complain(compiler, "too many system calls, at", word);
	compiler->rule[compiler->count++] = *rule;
	return 0;
}

/* NAME or NAME.CONSTANT */
static int add_call(struct compiler *compiler, const char *word, int error)
{
	char name[WORD_BYTES];
	snprintf(name, sizeof(name), "%s", word);
	char *dot = strchr(name, '.');
	if (dot)
		*dot++ = '\0';

	struct rule rule = {.number = seccomp_syscall_resolve_name(name), .error = error};
	if (rule.number == __NR_SCMP_ERROR)
		return complain(compiler, "unknown system call", name);
	if (dot) {
		rule.selected = true;
		if (seccomp_selector(name) < 0)
			return complain(compiler, "no argument can be chosen of system call", name);
		if (!seccomp_constant(name, dot, &rule.value))
			return complain(compiler, "unknown constant", word);
	}
	return add_rule(compiler, &rule, word);
}

static int add_word(struct compiler *compiler, const char *word, int error, int depth);

/* Groups file: lines "@NAME = WORD…", '#' comments; a group's lines add up. */
static int add_group(struct compiler *compiler, const char *group, int error, int depth)
{
	size_t group_length = strlen(group);
	bool found = false;
	for (const char *line = compiler->groups; *line;
	     line += strcspn(line, "\n"), line += *line != '\0') {
		if (strncmp(line, group, group_length) != 0)
			continue;
		const char *p = line + group_length;
		p += strspn(p, " \t");
		if (*p++ != '=')
			continue;
		found = true;
		for (;;) {
			p += strspn(p, " \t");
			size_t length = strcspn(p, " \t\n");
			if (length == 0 || *p == '#')
				break;
			char word[WORD_BYTES];
			if (length >= sizeof(word))
				return complain(compiler, "too long a word in group", group);
			memcpy(word, p, length);
			word[length] = '\0';
			if (add_word(compiler, word, error, depth + 1) < 0)
				return -1;
			p += length;
		}
	}
	return found ? 0 : complain(compiler, "unknown group", group);
}

/* An error given by the outer word covers what the inner one allows; the inner one's own error
 * stays. */
static int add_word(struct compiler *compiler, const char *given, int error, int depth)
{
	char word[WORD_BYTES];
	if (depth > GROUP_DEPTH_MAX)
		return complain(compiler, "groups nested too deeply, at", given);
	if (strlen(given) >= sizeof(word))
		return complain(compiler, "too long a word", given);
	strcpy(word, given);
	char *colon = strchr(word, ':');
	if (colon) {
		*colon++ = '\0';
		error = seccomp_errno(colon);
		if (error == 0)
			return complain(compiler, "unknown error name", given);
	}
	return word[0] == '@' ? add_group(compiler, word, error, depth)
			      : add_call(compiler, word, error);
}

/* Is this rule made pointless by another: a denial beats a permission, an unconditional one beats
 * one with a condition? */
static bool overruled(const struct compiler *compiler, const struct rule *rule)
{
	for (size_t i = 0; i < compiler->count; i++) {
		const struct rule *other = &compiler->rule[i];
		if (other == rule || other->number != rule->number)
			continue;
		if (rule->error == 0 && other->error != 0 &&
		    (!other->selected || (rule->selected && rule->value == other->value)))
			return true;
		if (rule->selected && !other->selected && (rule->error == 0) == (other->error == 0))
			return true;
		/* two different errors for the same call: the first one written */
		if (rule->error != 0 && other->error != 0 && rule->selected == other->selected &&
		    rule->value == other->value && other < rule)
			return true;
	}
	return false;
}

/*
 * libseccomp lets a permission for the whole call swallow a denial for one constant, silently.
 * Nobody needs that: name the constants that are allowed.
 */
static int refuse_swallowed(struct compiler *compiler)
{
	for (size_t i = 0; i < compiler->count; i++) {
		const struct rule *denial = &compiler->rule[i];
		for (size_t j = 0; denial->selected && denial->error != 0 && j < compiler->count;
		     j++) {
			const struct rule *other = &compiler->rule[j];
			if (other->number == denial->number && !other->selected &&
			    other->error == 0) {
				char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE,
									      denial->number);
				complain(compiler, "allowed as a whole and denied for a constant:",
					 name ? name : "?");
				free(name);
				return -1;
			}
		}
	}
	return 0;
}

static int emit_rule(scmp_filter_ctx filter, const struct rule *rule)
{
	uint32_t action = rule->error != 0 ? SCMP_ACT_ERRNO((unsigned)rule->error) : SCMP_ACT_ALLOW;
	if (rule->selected) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, rule->number);
		int argument = name ? seccomp_selector(name) : -1;
		free(name);
		if (argument < 0)
			return 0; /* not a call of this architecture */
		return seccomp_rule_add(
			filter, action, rule->number, 1,
			SCMP_CMP((unsigned)argument, SCMP_CMP_MASKED_EQ, UINT32_MAX, rule->value));
	}
	if (rule->number == SCMP_SYS(clone) && rule->error == 0)
		return seccomp_rule_add(filter, action, rule->number, 1,
					SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_NAMESPACES, 0));
	return seccomp_rule_add(filter, action, rule->number, 0);
}

/* Into memory, behind room for the prologue. */
static int export(scmp_filter_ctx filter, struct seccomp_program *program)
{
	int fd = memfd_create("seccomp", MFD_CLOEXEC);
	if (fd < 0)
		return -1;
	struct sock_filter *all = NULL;
	int result = -1;
	int error = seccomp_export_bpf(filter, fd);
	off_t bytes = error == 0 ? lseek(fd, 0, SEEK_END) : -1;
	size_t length = bytes > 0 ? (size_t)bytes / sizeof(*all) : 0;
	if (length > 0 && length + PROLOGUE <= INSTRUCTIONS_MAX)
		all = calloc(PROLOGUE + length, sizeof(*all));
	if (all && pread(fd, all + PROLOGUE, (size_t)bytes, 0) == (ssize_t)bytes) {
		*program = (struct seccomp_program){all, PROLOGUE + length};
		result = 0;
	} else {
		free(all);
	}
	close(fd);
	return result;
}

#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define LOW_FIRST 1
#else
#define LOW_FIRST 0
#endif

static void write_prologue(struct sock_filter *filter)
{
	const unsigned argument = offsetof(struct seccomp_data, args) + 5 * sizeof(uint64_t);
	const unsigned low = argument + (LOW_FIRST ? 0 : 4), high = argument + (LOW_FIRST ? 4 : 0);
	const struct sock_filter prologue[PROLOGUE] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, arch)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, seccomp_arch_native(), 0, 7),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_execveat, 0, 5),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, low),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 3), /* TICKET_LOW */
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, high),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1), /* TICKET_HIGH */
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	memcpy(filter, prologue, sizeof(prologue));
}

static int generate(const struct compiler *compiler, struct seccomp_program *program)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);
	if (!filter)
		return -1;
	int result = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
	if (result == 0)
		result = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE,
					  2); /* a binary tree, not a list */

	bool clone = false, clone3 = false;
	for (size_t i = 0; result == 0 && i < compiler->count; i++) {
		const struct rule *rule = &compiler->rule[i];
		clone = clone || (rule->number == SCMP_SYS(clone) && rule->error == 0);
		clone3 = clone3 || rule->number == SCMP_SYS(clone3);
		if (!overruled(compiler, rule))
			result = emit_rule(filter, rule);
	}
	/* The C libraries try clone3 first and take ENOSYS for an old kernel. */
	if (result == 0 && clone && !clone3)
		result = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), SCMP_SYS(clone3), 0);
	if (result == 0)
		result = export(filter, program);
	seccomp_release(filter);
	if (result == 0)
		write_prologue(program->filter);
	return result;
}

int seccomp_compile_groups(const char *groups, const struct words *words,
			   struct seccomp_program *program, char *error, size_t error_bytes)
{
	*program = (struct seccomp_program){NULL, 0};
	if (words->count == 0)
		return 0;
	struct compiler *compiler = calloc(1, sizeof(*compiler));
	if (!compiler) {
		snprintf(error, error_bytes, "out of memory");
		return -1;
	}
	compiler->groups = groups;
	compiler->error = error;
	compiler->error_bytes = error_bytes;
	int result = 0;
	for (size_t i = 0; result == 0 && i < words->count; i++)
		result = add_word(compiler, words->word[i], 0, 0);
	if (result == 0)
		result = refuse_swallowed(compiler);
	if (result == 0) {
		result = generate(compiler, program);
		if (result < 0)
			snprintf(error, error_bytes,
				 "libseccomp cannot make a filter of these words");
	}
	free(compiler);
	return result < 0 ? -1 : 0;
}

int seccomp_compile(const struct words *words, struct seccomp_program *program, char *error,
		    size_t error_bytes)
{
	const char *groups = "";
	for (size_t i = 0; i < embedded_file_count; i++) {
		if (strcmp(embedded_files[i].name, GROUPS_FILE) == 0)
			groups = embedded_files[i].text;
	}
	return seccomp_compile_groups(groups, words, program, error, error_bytes);
}

bool seccomp_good(const struct words *words, char *error, size_t error_bytes)
{
	struct seccomp_program program;
	if (seccomp_compile(words, &program, error, error_bytes) < 0)
		return false;
	seccomp_program_free(&program);
	return true;
}

void seccomp_program_free(struct seccomp_program *program)
{
	free(program->filter);
	*program = (struct seccomp_program){NULL, 0};
}

int seccomp_install(const struct seccomp_program *program, uint64_t *ticket)
{
	if (syscall(SYS_getrandom, ticket, sizeof(*ticket), 0) != (long)sizeof(*ticket))
		return -1;
	program->filter[TICKET_LOW].k = (uint32_t)*ticket;
	program->filter[TICKET_HIGH].k = (uint32_t)(*ticket >> 32);
	struct sock_fprog bpf = {.len = (unsigned short)program->length, .filter = program->filter};
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &bpf, 0, 0);
}
