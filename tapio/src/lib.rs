//! Every system call of tapswitch, and every `unsafe`.
