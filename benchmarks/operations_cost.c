/*
 * Makes requests of NFS as the script of operations sees them: memory laid out by the offsets that
 * -D names, and calls where nfsd has its tracepoints and its function. That memory is the kernel's (an array
 * that BPF programs can read, and this one can write), as nfsd's is.
 *
 * Reads lines "REQUESTS CLIENTS EXPORTS VERSION MINOR NUMBER...", numbers being the operations of a
 * compound, or a procedure; answers each with the nanoseconds that it took. With 0 requests, there is
 * one of each client on each export. Else clients and exports come in random order.
 */
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { PAGE = 4096, EXPORTS = 16, PAGES = 64 + EXPORTS, ARENA = PAGES * PAGE };
/* Offsets in the arena. */
enum {
	TASK = 0, THREAD = 2 * PAGE, RQSTP = 3 * PAGE, ARGP = 8 * PAGE, RESP = 9 * PAGE, OPS = 11 * PAGE,
	EXPORT = 64 * PAGE,
	/* in the page of an export */
	MNT = 512, DENTRY = 1024, DIRECTORY = 1536, ROOT = 2560,
};
static char *arena;
static uint64_t kernel; /* where the kernel has the arena */

#define PUT(type, base, offset, value) (*(type *)(arena + (base) + (offset)) = (type)(value))
#define POINT(base, offset, target) PUT(uint64_t, base, offset, kernel + (target))
#define PROBED __attribute__((noipa))

PROBED void compound_status(uint32_t asked, uint32_t done, uint32_t status, uint64_t none, uint64_t task) { __asm__ volatile("" ::: "memory"); }
PROBED void read_io_done(uint64_t rqstp, uint64_t fh, uint64_t offset, uint32_t length, uint64_t task) { __asm__ volatile("" ::: "memory"); }
PROBED void write_io_done(uint64_t rqstp, uint64_t fh, uint64_t offset, uint32_t length, uint64_t task) { __asm__ volatile("" ::: "memory"); }
PROBED void cache_update(uint64_t rqstp) { __asm__ volatile("" ::: "memory"); }

static int bpf(int command, union bpf_attr *attr) {
	int result = syscall(SYS_bpf, command, attr, sizeof *attr);
	if (result < 0) { perror("bpf"); exit(1); }
	return result;
}

/* A program that writes down where the array is. */
static void find_arena(void) {
	union bpf_attr map = { .map_type = BPF_MAP_TYPE_ARRAY, .key_size = 4, .value_size = ARENA, .max_entries = 1, .map_flags = BPF_F_MMAPABLE };
	int fd = bpf(BPF_MAP_CREATE, &map);
	struct bpf_insn code[] = {
		{ .code = BPF_LD | BPF_DW | BPF_IMM, .dst_reg = 1, .src_reg = BPF_PSEUDO_MAP_VALUE, .imm = fd }, { 0 },
		{ .code = BPF_STX | BPF_MEM | BPF_DW, .dst_reg = 1, .src_reg = 1 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0 },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr load = { .prog_type = BPF_PROG_TYPE_SOCKET_FILTER, .insns = (uintptr_t)code, .insn_cnt = sizeof code / sizeof *code, .license = (uintptr_t)"GPL" };
	char packet[64] = "";
	union bpf_attr run = { .test = { .prog_fd = bpf(BPF_PROG_LOAD, &load), .data_in = (uintptr_t)packet, .data_size_in = sizeof packet } };
	bpf(BPF_PROG_TEST_RUN, &run);
	arena = mmap(NULL, ARENA, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (arena == MAP_FAILED) { perror("mmap"); exit(1); }
	kernel = *(uint64_t *)arena;
}

static uint32_t draw(void) {
	static uint64_t state = 88172645463325252ULL;
	state ^= state << 13; state ^= state >> 7; state ^= state << 17;
	return state >> 32;
}

static uint64_t now_ns(void) {
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ULL + now.tv_nsec;
}

static void lay_out(int version, int minor, const int *numbers, int count) {
	memset(arena, 0, ARENA);
	POINT(TASK, TASK_KTHREAD, THREAD); POINT(THREAD, KTHREAD_DATA, RQSTP);
	POINT(RQSTP, RQ_ARGP, ARGP); POINT(RQSTP, RQ_RESP, RESP);
	PUT(uint32_t, RQSTP, RQ_PROG, 100003); PUT(uint32_t, RQSTP, RQ_VERS, version);
	PUT(uint32_t, RQSTP, RQ_PROC, version == 4 ? 1 : numbers[0]); PUT(uint32_t, RQSTP, RQ_UID, 1000);
	PUT(uint16_t, RQSTP, RQ_ADDR, 2);
	if (version == 4) {
		POINT(ARGP, ARGS_RQSTP, RQSTP); POINT(ARGP, ARGS_OPS, OPS); PUT(uint32_t, ARGP, ARGS_MINORVERSION, minor);
		POINT(RESP, RES_RQSTP, RQSTP);
		PUT(uint32_t, RESP + RES_CURRENT_FH, FH_MAXSIZE, 128);
		for (int i = 0; i < count; i++) PUT(uint32_t, OPS + i * OP_SIZE, OP_NUM, numbers[i]);
	} else {
		PUT(uint32_t, RESP + NFS3_FH, FH_MAXSIZE, 64);
	}
	for (int i = 0; i < EXPORTS; i++) {
		int page = EXPORT + i * PAGE;
		POINT(page, EX_MNT, page + MNT); POINT(page, EX_DENTRY, page + DENTRY);
		POINT(page + MNT, MNT_ROOT, page + ROOT); PUT(uint64_t, page + MNT, MNT_ID, 1000 + i);
		POINT(page + DENTRY, D_INODE, page + DIRECTORY); PUT(uint64_t, page + DIRECTORY, I_INO, 4711 + i);
	}
}

/* From 16 to 1039 microseconds ago. */
static void begin(int version, uint32_t client, uint32_t export) {
	uint32_t address = htobe32(0x0a000001 + client);
	PUT(uint32_t, RQSTP, RQ_ADDR + 4, address);
	POINT(RESP + (version == 4 ? RES_CURRENT_FH : NFS3_FH), FH_EXPORT, EXPORT + export * PAGE);
	PUT(uint64_t, RQSTP, RQ_STIME, now_ns() - 16000 - (draw() & 0xfffff));
}

/* In the order in which nfsd does it. */
static void answer(int version, const int *numbers, int count) {
	uint64_t fh = kernel + RESP + (version == 4 ? RES_CURRENT_FH : NFS3_FH);
	for (int i = 0; i < count; i++) {
		if (version == 4) PUT(uint32_t, RESP, RES_OPCNT, i + 1);
		if (numbers[i] == (version == 4 ? 25 : 6)) read_io_done(kernel + RQSTP, fh, 0, 4096, kernel + TASK);
		if (numbers[i] == (version == 4 ? 38 : 7)) write_io_done(kernel + RQSTP, fh, 0, 4096, kernel + TASK);
		if (version == 4) compound_status(count, i + 1, 0, 0, kernel + TASK);
	}
	cache_update(kernel + RQSTP);
}

int main(void) {
	char line[4096];
	find_arena();
	while (fgets(line, sizeof line, stdin)) {
		int requests, clients, exports, version, minor, numbers[64], count = 0, used, step;
		if (sscanf(line, "%d %d %d %d %d%n", &requests, &clients, &exports, &version, &minor, &used) != 5) return 1;
		while (count < 64 && sscanf(line + used, "%d%n", &numbers[count], &step) == 1) { used += step; count++; }
		lay_out(version, minor, numbers, count);
		uint64_t begun = now_ns();
		for (int i = 0; requests == 0 && i < clients * exports; i++) {
			begin(version, i / exports, i % exports);
			answer(version, numbers, count);
		}
		for (int i = 0; i < requests; i++) {
			begin(version, draw() % clients, draw() % exports);
			answer(version, numbers, count);
		}
		printf("%llu\n", (unsigned long long)(now_ns() - begun));
		fflush(stdout);
	}
	return 0;
}
