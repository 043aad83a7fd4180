"""The programs: varpro-train, varpro-predict, varpro-bench."""
