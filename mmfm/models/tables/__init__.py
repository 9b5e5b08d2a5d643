"""Foreign names: what each publisher calls the weights and settings of the models here."""
