// The limit that a generated script is measured against: bytes by client address in a map with a
// value for each CPU, written by hand and compiled. For benchmarks only: it counts the calls of one
// port, and no error, reset, page or TLS gets any thought.

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>
#include <bpf/bpf_core_read.h>

#define AF_INET6 10

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct in6_addr {
	union {
		__u32 u6_addr32[4];
	} in6_u;
};
struct sock_common {
	__u32 skc_daddr;
	__u16 skc_num;
	unsigned short skc_family;
	struct in6_addr skc_v6_daddr;
};
struct sock {
	struct sock_common __sk_common;
};
struct pt_regs {
	unsigned long di;
	unsigned long dx;
	unsigned long si;
};
#pragma clang attribute pop

const volatile __u16 port = 0;

struct key {
	__u32 address[4];
};
struct bytes {
	__u64 receive, transmit;
};
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct key);
	__type(value, struct bytes);
} clients SEC(".maps");

static __always_inline int add(struct key *key, long receive, long transmit)
{
	struct bytes *bytes, first = {};

	bytes = bpf_map_lookup_elem(&clients, key);
	if (!bytes) {
		first.receive = receive;
		first.transmit = transmit;
		bpf_map_update_elem(&clients, key, &first, BPF_ANY);
		return 0;
	}
	bytes->receive += receive;
	bytes->transmit += transmit;
	return 0;
}

// The kernel knows the type of what it gives to tracing programs, and lets them read it.
static __always_inline int count(struct sock *sk, long receive, long transmit)
{
	struct key key = {};
	int i;

	if (sk->__sk_common.skc_num != port)
		return 0;
	if (sk->__sk_common.skc_family == AF_INET6)
		for (i = 0; i < 4; i++)
			key.address[i] = sk->__sk_common.skc_v6_daddr.in6_u.u6_addr32[i];
	else
		key.address[0] = sk->__sk_common.skc_daddr;
	return add(&key, receive, transmit);
}

// The arguments of a kprobe are numbers.
static __always_inline int count_by_address(unsigned long address, long receive, long transmit)
{
	struct sock *sk = (struct sock *)address;
	struct key key = {};

	if (BPF_CORE_READ(sk, __sk_common.skc_num) != port)
		return 0;
	if (BPF_CORE_READ(sk, __sk_common.skc_family) == AF_INET6)
		BPF_CORE_READ_INTO(&key, sk, __sk_common.skc_v6_daddr.in6_u.u6_addr32);
	else
		key.address[0] = BPF_CORE_READ(sk, __sk_common.skc_daddr);
	return add(&key, receive, transmit);
}

SEC("tp_btf/sock_recv_length")
int BPF_PROG(tracepoint_receive, struct sock *sk, int ret, int flags)
{
	return ret > 0 ? count(sk, ret, 0) : 0;
}

SEC("tp_btf/sock_send_length")
int BPF_PROG(tracepoint_transmit, struct sock *sk, int ret, int flags)
{
	return ret > 0 ? count(sk, 0, ret) : 0;
}

SEC("fexit/tcp_cleanup_rbuf")
int BPF_PROG(function_exit_receive, struct sock *sk, int copied)
{
	return copied > 0 ? count(sk, copied, 0) : 0;
}

SEC("fexit/tcp_sendmsg_locked")
int BPF_PROG(function_exit_transmit, struct sock *sk, void *msg, unsigned long size, int ret)
{
	return ret > 0 ? count(sk, 0, ret) : 0;
}

SEC("kprobe/tcp_cleanup_rbuf")
int kprobe_receive(struct pt_regs *ctx)
{
	int copied = (int)ctx->si;

	return copied > 0 ? count_by_address(ctx->di, copied, 0) : 0;
}

SEC("kprobe/tcp_sendmsg_locked")
int kprobe_transmit(struct pt_regs *ctx)
{
	return count_by_address(ctx->di, 0, ctx->dx);
}

char LICENSE[] SEC("license") = "GPL";
