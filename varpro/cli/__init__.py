"""The programs: varpro-train, varpro-predict, varpro-fit, varpro-bench."""
