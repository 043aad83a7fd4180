
/* x[j] = sum_l x[j n + l] v[l], in place */
static void contract(float *x, const weight *v, int count, int n)
{
    int j, l;
    for (j = 0; j < count; ++j) {
        float total = 0.0f;
        for (l = 0; l < n; ++l) total += x[j * n + l] * (float)v[l];
        x[j] = total;
    }
}
