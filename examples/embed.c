/* The least a program does to record its own routing: usage: embed MODEL [TRACE]. Prints what went wrong, if anything. */
#include <llama.h>
#include <moescope/moescope.h>
#include <stdio.h>

int main(int argc, char ** argv) {
    if (argc < 2)
        return fprintf(stderr, "usage: embed MODEL [TRACE]\n"), 2;
    char               error[256];
    moescope_options   options = {.output = argc > 2 ? argv[2] : "embed.moetrace"};
    moescope_capture * m       = moescope_create(&options, error, sizeof error);
    if (!m)
        return fprintf(stderr, "%s\n", error), 1;

    struct llama_model * model = llama_model_load_from_file(argv[1], llama_model_default_params());
    if (!model)
        return 1;
    struct llama_context_params params = llama_context_default_params();
    params.cb_eval                     = moescope_eval;
    params.cb_eval_user_data           = m;
    struct llama_context * ctx         = llama_init_from_model(model, params);

    llama_token        tokens[] = {72, 101, 108, 108, 111};
    struct llama_batch batch    = llama_batch_get_one(tokens, 5);
    for (int i = 0; i < 4; i++) {
        moescope_batch(m, ctx, &batch);
        if (llama_decode(ctx, batch) != 0)
            break;
        batch = llama_batch_get_one(tokens + i, 1);
    }
    int failed = moescope_finish(m, error, sizeof error);
    if (failed)
        fprintf(stderr, "%s\n", error);
    llama_free(ctx);
    llama_model_free(model);
    return failed;
}
