
void @NAME@_scores(const pixel *image, float *scores)
{
    float total[CLASSES];
    int k;
    for (k = 0; k < CLASSES; ++k) total[k] = 0.0f;
@CALLS@
    for (k = 0; k < CLASSES; ++k) scores[k] = @SCALE@total[k] + constant[k];
}

int @NAME@_predict(const pixel *image)
{
    float scores[CLASSES];
    int k, best = 0;
    @NAME@_scores(image, scores);
    for (k = 1; k < CLASSES; ++k) if (scores[k] > scores[best]) best = k;
    return best;
}
