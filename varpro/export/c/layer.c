
/* One column's part of the outputs. */
static void add_column(float value, const weight *row, float *total)
{
    int k;
    for (k = 0; k < CLASSES; ++k) total[k] += value * (float)row[k];
}
